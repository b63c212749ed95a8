/** Money: bigint minor units and an ISO 4217 code. Nothing here rounds. */
import * as v from 'valibot';

/** The value file of the card is a signed 32-bit integer: no amount of ours is larger. */
export const MAX_AMOUNT_MINOR = 0x7fff_ffffn;

/** Digits after the point of the currencies that a card can hold (ISO 4217, list one). */
export const CURRENCIES = { JPY: 0, EUR: 2, USD: 2, GBP: 2, CHF: 2 } as const;
export type Currency = keyof typeof CURRENCIES;

export const currencySchema = v.picklist(Object.keys(CURRENCIES) as Currency[]);

/** On the wire a decimal string without sign or leading zeros; in code a bigint of minor units, 0 to 2^31 - 1. */
export const amountSchema = v.pipe(
  v.string(),
  v.regex(/^(0|[1-9][0-9]{0,9})$/),
  v.transform((text) => BigInt(text)),
  v.maxValue(MAX_AMOUNT_MINOR),
);

/** A sum that may have gone below zero, like what the ledger says of one card: a decimal string on the wire, a bigint of minor units in code. */
export const signedAmountSchema = v.pipe(
  v.string(),
  v.regex(/^(0|-?[1-9][0-9]{0,14})$/),
  v.transform((text) => BigInt(text)),
);

export function isCurrency(code: string): code is Currency {
  return Object.hasOwn(CURRENCIES, code);
}

/** Major units as a decimal number, for Intl.NumberFormat only (exact for every amount of ours). */
export function amountInMajorUnits(amountMinor: bigint, currency: Currency): number {
  return Number(amountMinor) / 10 ** CURRENCIES[currency];
}
