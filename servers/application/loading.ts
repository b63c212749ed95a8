/** Loading and replacing: a reading under key 1 settles what is open, then a credit under key 3, with INTENT and DONE like a payment. Showing is the reading alone. */
import { encodeHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { CardReading } from '../shared/apis/security.ts';
import type { VerifiedOrder } from '../shared/operator-order.ts';
import { accountOf } from './bookkeeping.ts';
import { createDeciding, type Decided } from './deciding.ts';
import { describeRecords } from './history.ts';
import { openCard } from './opening.ts';
import { openingTurns, type Begun, type Turn } from './order-turn.ts';
import type { ApplicationParts } from './parts.ts';
import type { ApplicationStore, Intent, LoadSource, Operation } from './store.ts';

type LoadOrder = VerifiedOrder<'load'> | VerifiedOrder<'replace'>;
type CardOrder = LoadOrder | VerifiedOrder<'show'>;

/** A session in which the card has been read. */
interface ReadCard {
  readonly sessionId: string;
  readonly reading: CardReading;
  readonly decided: readonly Decided[];
}

interface Load {
  readonly order: LoadOrder;
  readonly paymentId: string;
  readonly sessionId: string;
  readonly decided: readonly Decided[];
}

export interface Loading {
  begin(order: LoadOrder): Promise<Begun>;
  show(order: VerifiedOrder<'show'>): Promise<Begun>;
}

export function createLoading(parts: ApplicationParts): Loading {
  const { store, security, information, newId } = parts;
  const deciding = createDeciding(parts);

  /** Opens the card and reads it; what was unresolved before is decided (payment-rules 3, 4). */
  const readCard = async (order: CardOrder, kind: 'balance' | 'history', then: (card: ReadCard) => Promise<Turn>): Promise<Turn> => {
    const { cardId } = order.body;
    const unresolved = await store.unresolvedOf(cardId);
    const opening = await openCard(parts, cardId, unresolved, (how) => security.openOrder({ order: order.jws, ...how }));
    return openingTurns(opening, async (sessionId, authentication) => {
      const request = await security.requestBalance({ sessionId, responses: authentication, reading: kind });
      return {
        phase: 'read',
        commands: request.commands,
        next: async (responses) => {
          const reading = await security.takeBalance({ sessionId, responses });
          return then({ sessionId, reading, decided: await deciding.byReading({ sessionId, unresolved }, reading) });
        },
      };
    });
  };

  const authenticate = async (load: Load, responses: string[]): Promise<Turn> => {
    const { commands } = await security.authenticateLoad({ sessionId: load.sessionId, responses });
    return { phase: 'load', commands, next: (answers) => credit(load, answers) };
  };

  const credit = async (load: Load, responses: string[]): Promise<Turn> => {
    const { intent, commands } = await intend(load, responses, parts);
    return { phase: 'load', commands, next: (answers) => conclude(load, intent, answers) };
  };

  const conclude = async ({ order, sessionId, decided }: Load, intent: Intent, responses: string[]): Promise<Turn> => {
    const verdict = await security.verifyNotice({ sessionId, responses });
    if (verdict.verdict === 'unproven') throw new Failure('card/unresolved', { detail: verdict.reason });
    const { transactionCounter, transactionMac, balanceAfterMinor } = verdict;
    await deciding.carriedOut(intent, { by: 'notice', transactionCounter, transactionMac, statement: null, consent: null });
    const report = { cardId: intent.cardId, amountMinor: intent.amountMinor, balanceAfterMinor, decided: tell(decided) };
    return { report: order.body.kind === 'load' ? { kind: 'load', ...report } : { kind: 'replace', lostCardId: order.body.lostCardId, ...report } };
  };

  return {
    begin: async (order) => {
      const { body } = order;
      const card = await information.findCard({ cardId: body.cardId });
      if (card === null) throw new Failure('card/not-issued');
      if (card.currency !== body.currency) throw new Failure('card/unsupported', { detail: 'another currency' });
      if (card.blockedAt !== null) throw new Failure('card/blocked');
      if (body.kind === 'replace') await requireReplaceable(body.lostCardId, body.currency, parts);
      const paymentId = newId();
      const first = await readCard(order, 'balance', async ({ sessionId, reading, decided }) => {
        if (reading.balanceMinor === null || reading.balanceMinor + body.amountMinor > card.limitMinor) throw new Failure('card/limit');
        const { commands } = await security.requestLoadChallenge({ sessionId });
        const load = { order, paymentId, sessionId, decided };
        return { phase: 'load', commands, next: (answers) => authenticate(load, answers) };
      });
      return { paymentId, first };
    },

    show: async (order) => {
      const { cardId } = order.body;
      if ((await information.findCard({ cardId })) === null) throw new Failure('card/not-issued');
      const first = await readCard(order, 'history', async ({ sessionId, reading, decided }) => {
        await security.closeSession({ sessionId });
        if (reading.balanceMinor === null) throw new Failure('internal/bug', { detail: 'a reading without balance' });
        const [account, records] = await Promise.all([accountOf(cardId, parts), describeRecords(reading, parts)]);
        return { report: { kind: 'show', account, balanceMinor: reading.balanceMinor, records, decided: tell(decided) } };
      });
      return { paymentId: newId(), first };
    },
  };
}

/** Told early; the store asks again in the commit that takes the amount. */
async function requireReplaceable(lostCardId: string, currency: string, { information }: ApplicationParts): Promise<void> {
  const lost = await information.findCard({ cardId: lostCardId });
  if (lost === null) throw new Failure('card/not-issued', { detail: 'the lost card' });
  if (lost.currency !== currency) throw new Failure('card/unsupported', { detail: 'another currency' });
  if (lost.blockedAt === null) throw new Failure('card/not-blocked');
}

const REFUSALS = { 'bill-taken': 'internal/bug', 'card-taken': 'card/unresolved', 'card-blocked': 'card/blocked', 'source-not-blocked': 'card/not-blocked', 'source-too-low': 'operator/balance' } as const satisfies Record<Exclude<Awaited<ReturnType<ApplicationStore['writeIntent']>>, 'written'>, string>;

/** The credit is made, then the INTENT is durable, then the commands leave (payment-rules 1). */
async function intend({ order, paymentId, sessionId }: Load, responses: string[], { store, security, now, random }: ApplicationParts) {
  const { body } = order;
  const { cardId, currency, amountMinor } = body;
  const writtenAt = Math.floor(now());
  const operationId = encodeHex(random(8));
  const prepared = await security.prepareCredit({ sessionId, responses, operationId, timeSeconds: Math.floor(writtenAt / 1000) });
  const { transactionCounter, keyVersion, expectedTmi, commands } = prepared;
  const source: LoadSource | null = body.kind === 'replace' ? { cardId: body.lostCardId, countedAsNotDebited: body.countAsNotDebited } : null;
  const intent: Intent = { paymentId, kind: 'load', cardId, operationId, amountMinor, currency, bill: null, sessionId, transactionCounter, keyVersion, expectedTmi, source, request: order.jws, writtenAt };
  const written = await store.writeIntent(intent);
  if (written !== 'written') throw new Failure(REFUSALS[written]);
  return { intent, commands };
}

function tell(decided: readonly Decided[]) {
  return decided.map(({ operation: { paymentId, kind, amountMinor, state } }) => ({ paymentId, kind, amountMinor, outcome: outcomeOf(state) }));
}

function outcomeOf(state: Operation['state']): 'done' | 'not-done' | 'refund-due' {
  if (state === 'REFUND_DUE') return 'refund-due';
  return state === 'DONE' ? 'done' : 'not-done';
}
