/** What a card's own log says, in words that its holder knows: which shop, which kind, and whether it is settled. */
import type { CardRecords } from '#protocol/messages/card-record.ts';
import type { CardReading } from '../shared/apis/security.ts';
import type { ApplicationParts } from './parts.ts';
import type { Operation, OperationState } from './store.ts';

type KnownRecord = NonNullable<CardRecords[number]['known']>;

/** A record stands in the log of a card only if the card has carried the operation out: an operation that was proved not to have happened has none. */
const OUTCOMES: Readonly<Partial<Record<OperationState, KnownRecord['outcome']>>> = { INTENT: 'open', EXPIRED: 'open', DONE: 'done', REFUND_DUE: 'refund-due' };

export async function describeRecords({ cardId, records }: CardReading, { store, information }: Pick<ApplicationParts, 'store' | 'information'>): Promise<CardRecords> {
  const operations = await store.findByOperationIds(cardId, records.map(({ operationId }) => operationId));
  const shopIds = new Set(operations.flatMap(({ bill }) => (bill === null ? [] : [bill.shopId])));
  const names = new Map(await Promise.all([...shopIds].map(async (shopId) => [shopId, (await information.findShop({ shopId }))?.legalName ?? null] as const)));
  const known = new Map(operations.map((operation) => [operation.operationId, describe(operation, names)]));
  return records.map((record) => ({ ...record, known: known.get(record.operationId) ?? null }));
}

function describe({ kind, state, bill }: Operation, names: ReadonlyMap<string, string | null>): KnownRecord | null {
  const outcome = OUTCOMES[state];
  return outcome === undefined ? null : { kind, outcome, shopName: bill === null ? null : (names.get(bill.shopId) ?? null) };
}
