import * as v from 'valibot';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { amountInMajorUnits, amountSchema, CURRENCIES, currencySchema, isCurrency, MAX_AMOUNT_MINOR, type Currency } from './amount.ts';

describe('an amount', () => {
  it.each(['', '00', '01', '-1', '+1', '1.0', '1e3', ' 1', '1 ', '0x10', '１', '2147483648', '9999999999', '10000000000', 'NaN'])('is not %j', (text) => {
    expect(v.is(amountSchema, text)).toBe(false);
  });

  it.each([1, 1n, null, true, ['1'], { toString: () => '1' }])('is no %s but a string', (value) => {
    expect(v.is(amountSchema, value)).toBe(false);
  });

  it('is every whole number from 0 to 2^31 - 1, in its one spelling', () => {
    fc.assert(fc.property(fc.bigInt({ min: 0n, max: MAX_AMOUNT_MINOR }), (amountMinor) => {
      expect(v.parse(amountSchema, amountMinor.toString())).toBe(amountMinor);
    }), { examples: [[0n], [MAX_AMOUNT_MINOR]] });
  });

  it('has the major units of ISO 4217, exactly', () => {
    expect(amountInMajorUnits(2_100n, 'JPY')).toBe(2_100);
    expect(amountInMajorUnits(2_105n, 'EUR')).toBe(21.05);
    for (const currency of Object.keys(CURRENCIES) as Currency[]) {
      const text = amountInMajorUnits(MAX_AMOUNT_MINOR, currency).toFixed(CURRENCIES[currency]);
      expect(BigInt(text.replace('.', ''))).toBe(MAX_AMOUNT_MINOR);
    }
  });
});

describe('a currency', () => {
  it('is one that a card can hold', () => {
    for (const code of Object.keys(CURRENCIES)) expect(v.is(currencySchema, code) && isCurrency(code)).toBe(true);
  });

  it.each(['jpy', 'XXX', '', 'JPY ', 'toString', 'constructor', '__proto__'])('is not %j', (code) => {
    expect(v.is(currencySchema, code)).toBe(false);
    expect(isCurrency(code)).toBe(false);
  });
});
