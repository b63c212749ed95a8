/** A card's life as a person at the desk orders it: issue and load its opening balance, load, replace, show; and, without the card, its account, its block and a receipt. */
import type { Currency } from '#protocol/amount.ts';
import { asFailure, type Failure } from '#protocol/failure.ts';
import { issue } from '#protocol/issue.ts';
import { load, replace } from '#protocol/load.ts';
import type { CardAccount } from '#protocol/messages/card-account.ts';
import type { Receipt } from '#protocol/messages/receipt.ts';
import { carryOut, type OrderDetails, type ReportOf } from '#protocol/operating.ts';
import type { OperatorDesk } from './operator-desk.ts';

export interface IssueWish {
  readonly currency: Currency;
  readonly limitMinor: bigint;
  readonly holder: OrderDetails<'issue'>['holder'];
  readonly balanceMinor: bigint;
}

export interface IssuedCard {
  readonly cardId: string;
  readonly customerId: string | null;
  readonly enrolmentCode: string | null;
  readonly activationCode: string | null;
  readonly balanceMinor: bigint | null;
  /** Why the opening load has not come to its end: the card is issued, and what it holds is not known yet. */
  readonly loadFailure: Failure | null;
}

/** Throws Failure while the card is not issued; what is torn goes on when it is called again with the card back on the reader. */
export async function issueCard(desk: OperatorDesk, wish: IssueWish, say: (line: string) => void = () => undefined): Promise<IssuedCard> {
  const { currency, limitMinor, holder, balanceMinor } = wish;
  say('issuing');
  const { cardId, customerId, enrolmentCode, activationCode } = await desk.withCard(async (on) => issue({ currency, limitMinor, holder }, await on.openBlank(), on.card, desk.ports));
  const issued = { cardId, customerId, enrolmentCode, activationCode };
  if (balanceMinor === 0n) return { ...issued, balanceMinor, loadFailure: null };
  say('loading');
  // The codes are told once: a load that fails must not take them along.
  return loadCard(desk, { currency, amountMinor: balanceMinor }).then(
    () => ({ ...issued, balanceMinor, loadFailure: null }),
    (thrown: unknown) => ({ ...issued, balanceMinor: null, loadFailure: asFailure(thrown) }),
  );
}

export function loadCard(desk: OperatorDesk, { currency, amountMinor }: { readonly currency: Currency; readonly amountMinor: bigint }): Promise<ReportOf<'load'>> {
  return desk.withCard(async (on) => load({ currency, amountMinor }, await on.openWallet(), on.card, desk.ports));
}

export interface Replacement {
  readonly lostCardId: string;
  readonly amountMinor: bigint;
  readonly countAsNotDebited: string[];
}

/** Onto the card on the reader, what a blocked card is still worth by the books. */
export function replaceCard(desk: OperatorDesk, wish: Replacement & { readonly currency: Currency }): Promise<ReportOf<'replace'>> {
  return desk.withCard(async (on) => replace(wish, await on.openWallet(), on.card, desk.ports));
}

export function showCard(desk: OperatorDesk): Promise<ReportOf<'show'>> {
  return desk.withCard(async (on) => {
    const { cardId, cardChallenge } = await on.openWallet();
    return carryOut({ kind: 'show', cardId, cardChallenge }, on.card, desk.ports);
  });
}

export async function accountOf({ ports }: OperatorDesk, cardId: string): Promise<CardAccount> {
  return (await carryOut({ kind: 'account', cardId }, null, ports)).account;
}

/** Another one-time code with which a browser of this customer enrols. */
export async function newEnrolmentCode({ ports }: OperatorDesk, customerId: string): Promise<string> {
  return (await carryOut({ kind: 'enrolment-code', customerId }, null, ports)).enrolmentCode;
}

/** Another one-time code with which a customer links this card, which nobody has linked yet. */
export async function newActivationCode({ ports }: OperatorDesk, cardId: string): Promise<string> {
  return (await carryOut({ kind: 'activation-code', cardId }, null, ports)).activationCode;
}

/** For good. */
export async function blockCard({ ports }: OperatorDesk, cardId: string): Promise<CardAccount> {
  return (await carryOut({ kind: 'block', cardId }, null, ports)).account;
}

export async function receiptOf({ ports }: OperatorDesk, paymentId: string): Promise<Receipt> {
  return (await carryOut({ kind: 'receipt', paymentId }, null, ports)).receipt;
}
