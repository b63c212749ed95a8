/** Where the money is, in one plain sentence; it follows from what the flow knows, and every screen says it. */
import type { Currency } from '#protocol/amount.ts';
import { formatAmount, t } from '../language.ts';

interface Sum {
  readonly amountMinor: bigint;
  readonly currency: Currency;
}

export type Money =
  /** Nothing of the debit has left for the card. */
  | { readonly kind: 'untouched' }
  /** The debit is on its way: taken or not is known in a moment. */
  | ({ readonly kind: 'under-way' } & Sum)
  | ({ readonly kind: 'taken'; readonly shopTold: boolean } & Sum)
  /** A reading has proved that nothing was taken. */
  | { readonly kind: 'not-taken' }
  | ({ readonly kind: 'unknown' } & Sum);

export function moneySentence(money: Money): string {
  switch (money.kind) {
    case 'untouched':
      return t('moneyUntouched');
    case 'under-way':
      return t('moneyUnderWay', sum(money));
    case 'taken':
      return t(money.shopTold ? 'moneyTakenShopTold' : 'moneyTaken', sum(money));
    case 'not-taken':
      return t('moneyNotTaken');
    case 'unknown':
      return t('moneyUnknown', sum(money));
  }
}

function sum({ amountMinor, currency }: Sum): string {
  return formatAmount(amountMinor, currency);
}
