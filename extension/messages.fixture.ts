/** For tests: the extension's messages as the browser would answer them. */
import { readFileSync } from 'node:fs';

export type Messages = Record<string, { message: string }>;

export function readMessages(language: 'en' | 'ja'): Messages {
  return JSON.parse(readFileSync(new URL(`./_locales/${language}/messages.json`, import.meta.url), 'utf8')) as Messages;
}

/** In place of webextension-polyfill, which refuses to be loaded outside of an extension. */
export function polyfillWith(language: 'en' | 'ja'): { default: unknown } {
  const messages = readMessages(language);
  const getMessage = (key: string, substitutions: string[] = []): string =>
    (messages[key]?.message ?? '').replaceAll(/\$(\d)/g, (_, place: string) => substitutions[Number(place) - 1] ?? '');
  return { default: { i18n: { getMessage, getUILanguage: () => (language === 'en' ? 'en-GB' : 'ja') } } };
}
