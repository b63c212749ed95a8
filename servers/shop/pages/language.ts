/** The two languages of the shop: which one a browser asks for, and how money and time are written in it. */
import { amountInMajorUnits, type Currency } from '#protocol/amount.ts';

export const LANGUAGES = ['en', 'ja'] as const;
export type Language = (typeof LANGUAGES)[number];

/** The header is the caller's: more entries than this are not looked at. */
const MAX_ENTRIES = 20;

/** RFC 9110, 12.5.4: the language of ours with the highest weight, the first of equals; English when none is asked for. */
export function chooseLanguage(acceptLanguage: string | undefined): Language {
  let chosen: { language: Language; weight: number } | undefined;
  for (const entry of (acceptLanguage ?? '').split(',', MAX_ENTRIES)) {
    const match = /^\s*([a-z]{2,3}|\*)(?:-[a-z0-9-]{1,32})?\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?$/i.exec(entry);
    const language = LANGUAGES.find((own) => own === match?.[1]?.toLowerCase() || match?.[1] === '*');
    const weight = Number(match?.[2] ?? 1);
    if (language !== undefined && weight > (chosen?.weight ?? 0)) chosen = { language, weight };
  }
  return chosen?.language ?? 'en';
}

/** `JPY 1,200` or `1,200円`: nobody takes one currency for another. The same as in browser/money.js. */
export function formatMoney(amountMinor: bigint, currency: Currency, language: Language): string {
  return new Intl.NumberFormat(language, { style: 'currency', currency, currencyDisplay: language === 'ja' ? 'name' : 'code' }).format(amountInMajorUnits(amountMinor, currency));
}

/** With the name of the time zone, because a receipt is read elsewhere too. */
export function formatTime(at: number, timeZone: string, language: Language): string {
  return new Intl.DateTimeFormat(language, { dateStyle: 'long', timeStyle: 'long', timeZone }).format(at);
}
