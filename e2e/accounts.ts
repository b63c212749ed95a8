/** The closing of the accounts, after everything that moved money: card, settlement's books and shops hold the same to be true. */
import pg from 'pg';
import type { SimulatedCard } from '#world/simulated-card.ts';
import type { World } from '#world/world.ts';

export interface BookedOperation {
  readonly paymentId: string;
  readonly kind: 'pay' | 'load' | 'refund' | 'issue';
  readonly state: 'INTENT' | 'DONE' | 'ABORTED' | 'EXPIRED' | 'CLOSED' | 'REFUND_DUE';
  readonly cardId: string;
  readonly amountMinor: bigint;
  readonly shopId: string | null;
  readonly billId: string | null;
  /** The lost card whose value a load moves. */
  readonly sourceCardId: string | null;
}

/** All operations in the settlement's books, oldest first, as an auditor reads them. */
export async function readOperations(world: World): Promise<BookedOperation[]> {
  const rows = await query(world, 'kessai_application', 'select payment_id, kind, state, card_id, amount_minor, shop_id, bill_id, source_card_id from card_operations order by position');
  return rows.map((row) => ({
    paymentId: row['payment_id'] as string,
    kind: row['kind'] as BookedOperation['kind'],
    state: row['state'] as BookedOperation['state'],
    cardId: row['card_id'] as string,
    amountMinor: BigInt(row['amount_minor'] as string),
    shopId: row['shop_id'] as string | null,
    billId: row['bill_id'] as string | null,
    sourceCardId: row['source_card_id'] as string | null,
  }));
}

/** Everything that does not add up, in words; empty when all is well. Shops hear of a payment a moment later than the books. */
export async function wrongInAccounts(world: World, cards: readonly SimulatedCard[]): Promise<string[]> {
  const operations = await readOperations(world);
  return [...wrongOnCards(operations, cards), ...(await wrongInLedger(world, operations, cards)), ...(await wrongInShops(world, operations))];
}

function wrongOnCards(operations: readonly BookedOperation[], cards: readonly SimulatedCard[]): string[] {
  return cards.flatMap((card) => {
    const ours = operations.filter(({ cardId }) => cardId === card.cardId);
    const open = ours.filter(({ state }) => state === 'INTENT' || state === 'EXPIRED');
    const loadedMinor = sum(ours.filter(({ kind, state }) => kind === 'load' && state === 'DONE'));
    const paidMinor = sum(ours.filter(({ kind, state }) => kind === 'pay' && state === 'DONE'));
    const balanceMinor = card.balanceMinor();
    return [
      ...open.map(({ paymentId, state }) => `${paymentId} is unresolved (${state})`),
      ...(loadedMinor - paidMinor === balanceMinor ? [] : [`card ${card.cardId} holds ${balanceMinor}; ${loadedMinor} was loaded, ${paidMinor} paid`]),
    ];
  });
}

/** Each card against its own account; the chip of a lost card still holds what was moved to another by the books. */
async function wrongInLedger(world: World, operations: readonly BookedOperation[], cards: readonly SimulatedCard[]): Promise<string[]> {
  const rows = await query(
    world,
    'kessai_application',
    `select account, sum(amount_minor)::text as held
      from (select credit_account as account, amount_minor from transfers union all select debit_account, -amount_minor from transfers) as sides
      group by account`,
  );
  const ledger = new Map(rows.map((row) => [row['account'] as string, BigInt(row['held'] as string)]));
  const others = [...ledger].filter(([account, minor]) => account.startsWith('card:') && minor !== 0n && !cards.some(({ cardId }) => account === `card:${cardId}`));
  const wrong = others.map(([account, minor]) => `the ledger has ${minor} on ${account}, which nobody holds`);
  return cards.reduce((found, card) => {
    const ledgerMinor = ledger.get(`card:${card.cardId}`) ?? 0n;
    const movedAwayMinor = sum(operations.filter(({ sourceCardId, state }) => sourceCardId === card.cardId && state === 'DONE'));
    const heldMinor = card.balanceMinor();
    return heldMinor === ledgerMinor + movedAwayMinor ? found : [...found, `card ${card.cardId} holds ${heldMinor}; the ledger has ${ledgerMinor} on it, and ${movedAwayMinor} was moved away`];
  }, wrong);
}

async function wrongInShops(world: World, operations: readonly BookedOperation[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const { shopId } of world.shops) {
    const bills = await query(world, shopId === 'hanamaru' ? 'kessai_shop' : `kessai_shop_${shopId}`, 'select bill_id, outcome from bills');
    const done = new Set(operations.filter((operation) => operation.shopId === shopId && operation.state === 'DONE').map(({ billId }) => billId));
    for (const row of bills) {
      const [billId, outcome] = [row['bill_id'] as string, row['outcome'] as string | null];
      if ((outcome === 'paid') !== done.has(billId)) wrong.push(`${shopId} holds bill ${billId} for ${outcome ?? 'open'}, the books ${done.has(billId) ? 'paid' : 'not paid'}`);
    }
  }
  return wrong;
}

function sum(operations: readonly BookedOperation[]): bigint {
  return operations.reduce((total, { amountMinor }) => total + amountMinor, 0n);
}

async function query(world: World, database: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: world.postgres.url(database), connectionTimeoutMillis: 10_000, query_timeout: 10_000 });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end();
  }
}
