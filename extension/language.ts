/** The customer's language: messages of _locales, and amounts, dates and times written as that language writes them. */
import browser from 'webextension-polyfill';
import { amountInMajorUnits, CURRENCIES, type Currency } from '#protocol/amount.ts';
import type { FailureCode } from '#protocol/failure.ts';
import type messages from './_locales/en/messages.json';

export type MessageKey = keyof typeof messages;

/** The message of this key in the interface's language; `$1`, `$2`, ... are replaced in order. */
export function t(key: MessageKey, ...substitutions: string[]): string {
  return browser.i18n.getMessage(key, substitutions);
}

/** The message key of a failure code. */
export function failureKey(code: FailureCode): MessageKey {
  return `failure_${code.replaceAll(/[^a-z]/g, '_')}` as MessageKey;
}

export function failureText(code: FailureCode): string {
  return t(failureKey(code));
}

/** `en` or `ja`: the language that the messages are in. */
export function messageLanguage(): string {
  return t('language');
}

/** The interface's own variant (en-GB) where it is one of the messages' language; figures and words then agree. */
function locale(): string {
  const language = messageLanguage();
  const interfaceLanguage = browser.i18n.getUILanguage();
  return interfaceLanguage.split('-', 1)[0] === language ? interfaceLanguage : language;
}

export interface AmountPart {
  readonly kind: 'figures' | 'currency' | 'space';
  readonly text: string;
}

/** The amount in parts, so that the figures can be set larger. `JPY 1,200`, in Japanese `1,200 円`: never a sign that two currencies share. */
export function amountParts(amountMinor: bigint, currency: Currency): AmountPart[] {
  const digits = CURRENCIES[currency];
  const format = new Intl.NumberFormat(locale(), {
    style: 'currency',
    currency,
    currencyDisplay: messageLanguage() === 'ja' ? 'name' : 'code',
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  return joinFigures(format.formatToParts(amountInMajorUnits(amountMinor, currency)));
}

export function formatAmount(amountMinor: bigint, currency: Currency): string {
  return amountParts(amountMinor, currency).map(({ text }) => text).join('');
}

export function formatDateTime(at: number): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'medium', timeStyle: 'short' }).format(at);
}

export function formatCount(count: number): string {
  return new Intl.NumberFormat(locale()).format(count);
}

export function formatMilliseconds(ms: number): string {
  return new Intl.NumberFormat(locale(), { maximumFractionDigits: ms < 10 ? 1 : 0 }).format(ms);
}

function joinFigures(parts: readonly Intl.NumberFormatPart[]): AmountPart[] {
  const joined: AmountPart[] = [];
  for (const { type, value } of parts) {
    const kind = type === 'currency' ? 'currency' : type === 'literal' ? 'space' : 'figures';
    const last = joined.at(-1);
    if (last?.kind === kind) joined[joined.length - 1] = { kind, text: last.text + value };
    else joined.push({ kind, text: value });
  }
  return joined;
}
