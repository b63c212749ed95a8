/** Issuing as a person does it: issue the card on the reader, then load its opening balance as an ordinary load. */
import type { Currency } from '#protocol/amount.ts';
import { issue } from '#protocol/issue.ts';
import { load } from '#protocol/load.ts';
import type { OperatorDesk } from './operator-desk.ts';

export interface IssueWish {
  readonly currency: Currency;
  readonly limitMinor: bigint;
  readonly customerName: string | null;
  readonly balanceMinor: bigint;
}

export interface IssuedCard {
  readonly cardId: string;
  readonly customerId: string;
  readonly enrolmentCode: string;
  readonly balanceMinor: bigint;
}

/** Throws Failure; what is torn goes on when it is called again with the card back on the reader. */
export async function issueCard(desk: OperatorDesk, wish: IssueWish, say: (line: string) => void = () => undefined): Promise<IssuedCard> {
  const { currency, limitMinor, customerName, balanceMinor } = wish;
  say('issuing');
  const { cardId, customerId, enrolmentCode } = await desk.withCard(0, (contact, card) => issue({ currency, limitMinor, customerName }, contact, card, desk.ports));
  if (balanceMinor > 0n) {
    say('loading');
    await desk.withCard(1, (contact, card) => load({ currency, amountMinor: balanceMinor }, contact, card, desk.ports));
  }
  return { cardId, customerId, enrolmentCode, balanceMinor };
}
