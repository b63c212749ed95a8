/** The closing invariant of everything that moves money in one process: none made, none lost, and all parties say the same. */
import type { InProcessWorld } from './in-process.ts';

/**
 * Throws, with every disagreement in words, unless: the ledger adds up to nothing; what the cards hold is what the ledger says
 * they hold, but for unresolved operations that a card has carried out; no card shows an operation that was found not to have
 * happened; no bill is paid twice; and a shop believes "paid" exactly of a payment that is DONE.
 */
export async function assertConserved(world: InProcessWorld): Promise<void> {
  const wrong = [...(await wrongInLedger(world)), ...(await wrongOnCards(world)), ...(await wrongInShops(world))];
  if (wrong.length > 0) throw new Error(`money made or lost: ${wrong.join('; ')}`);
}

async function operationsOf({ store, operationIds }: InProcessWorld) {
  const found = await Promise.all(operationIds.map((id) => store.find(id)));
  return found.filter((operation) => operation !== undefined);
}

async function wrongInLedger({ store, shops }: InProcessWorld): Promise<string[]> {
  const accounts = ['cards', 'cash', 'refunds', ...shops.map(({ shopId }) => `shop:${shopId}` as const)] as const;
  const balances = await Promise.all(accounts.map((account) => store.balanceOf(account, 'JPY')));
  const sum = balances.reduce((total, balance) => total + balance, 0n);
  return sum === 0n ? [] : [`the ledger adds up to ${sum}`];
}

async function wrongOnCards(world: InProcessWorld): Promise<string[]> {
  const wrong: string[] = [];
  const shown = new Set(world.cards.flatMap((card) => card.operationIds()));
  let undecidedMinor = 0n;
  for (const { operationId, kind, state, amountMinor } of await operationsOf(world)) {
    if ((state === 'INTENT' || state === 'EXPIRED') && shown.has(operationId)) undecidedMinor += kind === 'pay' ? -amountMinor : amountMinor;
    if ((state === 'ABORTED' || state === 'CLOSED') && shown.has(operationId)) wrong.push(`${state} operation ${operationId} stands in a card's log`);
  }
  const heldMinor = world.cards.reduce((sum, card) => sum + card.balanceMinor(), 0n);
  const ledgerMinor = await world.store.balanceOf('cards', 'JPY');
  if (heldMinor !== ledgerMinor + undecidedMinor) wrong.push(`the cards hold ${heldMinor}, the ledger says ${ledgerMinor} and ${undecidedMinor} is undecided`);
  return wrong;
}

async function wrongInShops(world: InProcessWorld): Promise<string[]> {
  const wrong: string[] = [];
  const payments = (await operationsOf(world)).filter(({ bill }) => bill !== null);
  for (const { shopId, store } of world.shops) {
    const done = payments.filter(({ bill, state }) => bill?.shopId === shopId && state === 'DONE');
    const creditMinor = done.reduce((sum, { amountMinor }) => sum + amountMinor, 0n);
    if ((await world.store.balanceOf(`shop:${shopId}`, 'JPY')) !== creditMinor) wrong.push(`${shopId} is credited with something else than ${creditMinor}`);
    if (new Set(done.map(({ bill }) => bill?.billId)).size !== done.length) wrong.push(`a bill of ${shopId} is paid twice`);
    for (const { bill } of payments.filter((payment) => payment.bill?.shopId === shopId)) {
      const outcome = bill === null ? null : (await store.findBill(bill.billId))?.outcome ?? null;
      const isDone = done.some((payment) => payment.bill?.billId === bill?.billId && (outcome === null || payment.paymentId === outcome.paymentId));
      if (outcome?.outcome === 'paid' && !isDone) wrong.push(`${shopId} believes that bill ${bill?.billId ?? ''} is paid`);
      if (outcome?.outcome === 'not-paid' && isDone) wrong.push(`${shopId} believes that bill ${bill?.billId ?? ''} is not paid`);
    }
  }
  return wrong;
}
