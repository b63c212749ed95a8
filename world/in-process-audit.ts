/** The closing invariant of everything that moves money in one process: none made, none lost, and all parties say the same. */
import type { InProcessWorld } from './in-process.ts';

/**
 * Throws, with every disagreement in words, unless: the ledger adds up to nothing; what each card holds is what its own account
 * says, but for unresolved operations that the card has carried out, and for what was moved from a lost card by the books; no card
 * shows an operation that was found not to have happened, or one of another card; no bill is paid twice; and a shop believes "paid"
 * exactly of a payment that is DONE.
 */
export async function assertConserved(world: InProcessWorld): Promise<void> {
  const wrong = [...(await wrongInLedger(world)), ...(await wrongOnCards(world)), ...(await wrongInShops(world))];
  if (wrong.length > 0) throw new Error(`money made or lost: ${wrong.join('; ')}`);
}

async function operationsOf({ store, operationIds }: InProcessWorld) {
  const found = await Promise.all(operationIds.map((id) => store.find(id)));
  return found.filter((operation) => operation !== undefined);
}

async function wrongInLedger(world: InProcessWorld): Promise<string[]> {
  const { store, shops, cards } = world;
  const operations = await operationsOf(world);
  const strangers = new Set([...operations, ...operations.flatMap(({ source }) => source ?? [])].map(({ cardId }) => cardId));
  for (const { cardId } of cards) strangers.delete(cardId);
  const accounts = ['cash', 'refunds', ...[...cards.map(({ cardId }) => cardId), ...strangers].map((cardId) => `card:${cardId}` as const), ...shops.map(({ shopId }) => `shop:${shopId}` as const)] as const;
  const balances = await Promise.all(accounts.map((account) => store.balanceOf(account, 'JPY')));
  const sum = balances.reduce((total, balance) => total + balance, 0n);
  const ownedByNobody = accounts.flatMap((account, index) => (balances[index] !== 0n && strangers.has(account.replace('card:', '')) ? [`${account} has a balance and is no card of this world`] : []));
  return [...ownedByNobody, ...(sum === 0n ? [] : [`the ledger adds up to ${sum}`])];
}

async function wrongOnCards(world: InProcessWorld): Promise<string[]> {
  const operations = await operationsOf(world);
  const wrong: string[] = [];
  for (const card of world.cards) {
    const shown = new Set(card.operationIds());
    let undecidedMinor = 0n;
    for (const { cardId, operationId, kind, state, amountMinor } of operations.filter((operation) => shown.has(operation.operationId))) {
      if (cardId !== card.cardId) wrong.push(`operation ${operationId} of card ${cardId} stands in the log of ${card.cardId}`);
      if (state === 'INTENT' || state === 'EXPIRED') undecidedMinor += kind === 'pay' ? -amountMinor : amountMinor;
      if (state === 'ABORTED' || state === 'CLOSED') wrong.push(`${state} operation ${operationId} stands in a card's log`);
    }
    // The chip of a lost card still holds what its holder has on another card by now.
    const movedAwayMinor = operations.reduce((sum, { source, state, amountMinor }) => sum + (source?.cardId === card.cardId && state === 'DONE' ? amountMinor : 0n), 0n);
    const ledgerMinor = await world.store.balanceOf(`card:${card.cardId}`, 'JPY');
    const heldMinor = card.balanceMinor();
    if (heldMinor !== ledgerMinor + undecidedMinor + movedAwayMinor) {
      wrong.push(`card ${card.cardId} holds ${heldMinor}, the ledger says ${ledgerMinor}, ${undecidedMinor} is undecided and ${movedAwayMinor} was moved away`);
    }
  }
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
