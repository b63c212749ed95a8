/** An operator at a desk with a reader, in one process: every order of a card's life, as the desk gives it. */
import { openBlankContact, openContact } from '#protocol/card-contact.ts';
import { issue } from '#protocol/issue.ts';
import { load, replace } from '#protocol/load.ts';
import type { Receipt } from '#protocol/messages/receipt.ts';
import type { CardAccount } from '#protocol/messages/card-account.ts';
import { platformRandom } from '#protocol/nonce.ts';
import { carryOut, type OperatingPort, type OperatorCard, type OperatorPorts, type OrderDetails, type ReportOf } from '#protocol/operating.ts';
import type { Card, Identity } from '#protocol/parties.ts';
import type { InProcessCard } from './in-process-card.ts';
import type { InProcessServers, Surroundings } from './in-process-servers.ts';

/** Of every card that is issued here. */
export const LIMIT_MINOR = 50_000n;

/** What an operator's tool has otherwise than it should. */
export interface OrderChanges {
  readonly operating?: OperatingPort;
  readonly identity?: Identity;
  /** Whose contact the order names; the card on the reader unless told. */
  readonly contactOf?: InProcessCard;
}

export type Holder = OrderDetails<'issue'>['holder'];

export interface InProcessOperator {
  issue(card: InProcessCard, changes?: OrderChanges & { readonly limitMinor?: bigint; readonly holder?: Holder }): Promise<ReportOf<'issue'>>;
  load(card: InProcessCard, amountMinor: bigint, changes?: OrderChanges): Promise<ReportOf<'load'>>;
  replace(lostCardId: string, card: InProcessCard, amountMinor: bigint, changes?: OrderChanges & { readonly countAsNotDebited?: string[] }): Promise<ReportOf<'replace'>>;
  show(card: InProcessCard, changes?: OrderChanges): Promise<ReportOf<'show'>>;
  account(cardId: string): Promise<CardAccount>;
  block(cardId: string, changes?: OrderChanges): Promise<CardAccount>;
  receipt(paymentId: string): Promise<Receipt>;
  /** One-time codes given anew. */
  enrolmentCode(customerId: string): Promise<string>;
  activationCode(cardId: string): Promise<string>;
}

export async function createOperator({ operating }: InProcessServers, { pki, now }: Surroundings): Promise<InProcessOperator> {
  const identity: Identity = { signer: await pki.signer({ role: 'operator', commonName: 'operator' }, () => undefined), verifier: pki.verifier(null) };
  const ports: OperatorPorts = { operating, identity, now, random: platformRandom };
  const currency = 'JPY';
  const portsWith = (changes: OrderChanges): OperatorPorts => ({ ...ports, operating: changes.operating ?? operating, identity: changes.identity ?? identity });
  /** The card on the desk's reader, and the one whose contact the order names. */
  const desk = (card: InProcessCard, changes: OrderChanges = {}) => {
    const { contactOf = card } = changes;
    const onDesk = operatorCard(card);
    const toAsk = phased(contactOf === card ? onDesk : operatorCard(contactOf));
    return { onDesk, toAsk, ports: portsWith(changes) };
  };
  return {
    issue: async (card, { limitMinor = LIMIT_MINOR, holder = { is: 'new-customer', name: 'Hanako' } as const, ...changes } = {}) => {
      const at = desk(card, changes);
      return issue({ currency, limitMinor, holder }, await openBlankContact(at.toAsk), at.onDesk, at.ports);
    },
    load: async (card, amountMinor, changes) => {
      const at = desk(card, changes);
      return load({ currency, amountMinor }, await openContact(at.toAsk, 1), at.onDesk, at.ports);
    },
    replace: async (lostCardId, card, amountMinor, { countAsNotDebited = [], ...changes } = {}) => {
      const at = desk(card, changes);
      return replace({ currency, amountMinor, lostCardId, countAsNotDebited }, await openContact(at.toAsk, 1), at.onDesk, at.ports);
    },
    show: async (card, changes) => {
      const at = desk(card, changes);
      const { cardId, cardChallenge } = await openContact(at.toAsk, 1);
      return carryOut({ kind: 'show', cardId, cardChallenge }, at.onDesk, at.ports);
    },
    account: async (cardId) => (await carryOut({ kind: 'account', cardId }, null, ports)).account,
    block: async (cardId, changes = {}) => (await carryOut({ kind: 'block', cardId }, null, portsWith(changes))).account,
    receipt: async (paymentId) => (await carryOut({ kind: 'receipt', paymentId }, null, ports)).receipt,
    enrolmentCode: async (customerId) => (await carryOut({ kind: 'enrolment-code', customerId }, null, ports)).enrolmentCode,
    activationCode: async (cardId) => (await carryOut({ kind: 'activation-code', cardId }, null, ports)).activationCode,
  };
}

function operatorCard(card: InProcessCard): OperatorCard {
  const channel = card.open();
  const { signal } = new AbortController();
  return { transmit: (commands) => channel.transmit(commands, signal) };
}

/** As the flows open a contact: an operator's gate knows no phases. */
function phased(card: OperatorCard): Card {
  const transmit = (commands: Parameters<OperatorCard['transmit']>[0]) => card.transmit(commands);
  return { readerName: '', onLost: () => undefined, transmit: (_phase, commands) => transmit(commands), debit: transmit, close: () => Promise.resolve() };
}
