/** The settlement's proof of an operation, checked without any server: good as it was given out, and not good with anything in it changed. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createGatedCard } from '#bridge/gated-card.ts';
import { encodeBase64url } from '#protocol/bytes.ts';
import { encodeStrictJson } from '#protocol/json.ts';
import { receiptSchema, type Receipt } from '#protocol/messages/receipt.ts';
import { resolve } from '#protocol/resolve.ts';
import { digestOf, type Jws } from '#protocol/signed.ts';
import { RECEIPT_CHECKS, verifyReceipt, type ReceiptChecker } from '#servers/security/receipt.ts';
import * as v from 'valibot';
import { createInProcessWorld, type InProcessWorld } from './in-process.ts';
import { bodyOf, losingSettlement, resigned, tampered, tryToPay } from './payment.fixture.ts';

let world: InProcessWorld;
let checker: ReceiptChecker;
/** Decided by a notice, by a reading, and by an operator's order. */
let paid: Receipt;
let read: Receipt;
let loaded: Receipt;

beforeAll(async () => {
  world = await createInProcessWorld();
  checker = { verifierAt: (at) => world.pki.verifier(() => at), keyStore: world.keyStore };
  await tryToPay(world);
  world.clock.advance(60_000);
  await tryToPay(world, { settlement: losingSettlement(world, (nth) => (nth > 3 ? 'request-lost' : 'carried')) });
  const gated = createGatedCard(world.card.open(), new AbortController().signal);
  await resolve(gated, { about: null, history: false }, world.ports());
  [loaded, paid, read] = (await Promise.all(world.operationIds.slice(1).map((paymentId) => world.receipt(paymentId)))) as [Receipt, Receipt, Receipt];
});

/** Names of the checks that do not hold. */
const wrongIn = async (receipt: Receipt, changes: Partial<ReceiptChecker> = {}): Promise<string[]> => {
  const checks = await verifyReceipt(receipt, { ...checker, ...changes });
  expect(checks.map(({ check }) => check)).toEqual(RECEIPT_CHECKS);
  return checks.filter(({ ok }) => !ok).map(({ check }) => check);
};

describe('a receipt', () => {
  it('holds for a payment that a notice decided, one that a reading decided, and a load, also from a file', async () => {
    for (const receipt of [paid, read, loaded]) {
      expect(await wrongIn(receipt)).toEqual([]);
      const fromFile = v.parse(receiptSchema, JSON.parse(encodeStrictJson(receipt)));
      expect(await wrongIn(fromFile)).toEqual([]);
    }
    expect([paid.statement, paid.consent, paid.notice].every((jws) => jws !== null)).toBe(true);
    expect([read.statement, loaded.notice]).toEqual([null, null]);
  });

  it('says what each check found', async () => {
    const checks = await verifyReceipt(paid, checker);
    expect(checks.find(({ check }) => check === 'notice')).toEqual({ check: 'notice', ok: true, why: 'the shop was told that it is paid' });
    expect(checks.find(({ check }) => check === 'transaction')).toEqual({ check: 'transaction', ok: true, why: 'one log record and one debit of the amount' });
    const [request] = await verifyReceipt({ ...paid, cardId: '04FFFFFFFFFF51' }, checker);
    expect(request).toEqual({ check: 'request', ok: false, why: 'the payment request has another cardId than the receipt' });
  });

  it('holds in the years after, and not with certificates that were not valid when it was decided', async () => {
    expect(await wrongIn(paid, { verifierAt: () => world.pki.verifier(() => paid.decidedAt + 10 * 365 * 86_400_000) })).toEqual(['request', 'bill', 'notice', 'statement', 'consent']);
  });

  it('needs the shop\'s certificate and the card\'s key', async () => {
    const billOf = (shopChain: readonly Uint8Array[]): Receipt => ({ ...paid, bill: { ...paid.bill!, shopChain: shopChain.map(encodeBase64url) } });
    expect(await wrongIn(billOf(world.shop.signer.chain))).toEqual([]);
    const other = await world.openShop({ shopId: 'other', origin: 'https://other.localhost', legalName: 'Other' });
    for (const chain of [[], world.customer.identity.signer.chain, other.signer.chain, world.shop.signer.chain.slice(0, 1)]) expect(await wrongIn(billOf(chain))).toEqual(['bill']);
    // A registered shop's own signature, on a bill in another shop's name.
    const request = await resigned(paid.request, { bill: await resigned(bodyOf(paid.request)['bill'] as Jws, {}, other.signer) }, world.customer.identity.signer);
    const digest = await digestOf(bodyOf(request)['bill'] as Jws);
    expect(await wrongIn({ ...billOf(other.signer.chain), request, bill: { ...billOf(other.signer.chain).bill!, billDigest: digest } })).toContain('bill');
    const newer: Receipt = { ...paid, proof: { ...paid.proof, keyVersion: 2 } };
    expect(await wrongIn(newer)).toEqual(['transaction-mac']);
    world.keyVersion.current = 2;
    expect(await wrongIn(newer)).toEqual(['transaction-mac']);
    world.keyVersion.current = 1;
  });
});

const otherHex = (hex: string, at: number) => `${hex.slice(0, at)}${hex[at] === '0' ? '1' : '0'}${hex.slice(at + 1)}`;
const bodies = { paid: () => paid, read: () => read, loaded: () => loaded };

describe('a change of any field is found', () => {
  it.each<[keyof typeof bodies, string, (receipt: Receipt) => Partial<Receipt>, string[]]>([
    ['paid', 'payment number', () => ({ paymentId: crypto.randomUUID() }), ['notice', 'statement', 'consent']],
    ['read', 'payment number', () => ({ paymentId: crypto.randomUUID() }), ['notice']],
    ['paid', 'kind', () => ({ kind: 'load' }), ['request', 'bill', 'statement', 'consent', 'transaction']],
    ['paid', 'kind', () => ({ kind: 'issue' }), ['request', 'bill', 'statement', 'consent', 'transaction']],
    ['loaded', 'kind', () => ({ kind: 'pay' }), ['request', 'bill', 'notice', 'transaction']],
    ['loaded', 'kind', () => ({ kind: 'refund' }), ['request', 'bill']],
    ['paid', 'card', () => ({ cardId: '04FFFFFFFFFF51' }), ['request', 'bill', 'statement', 'consent', 'transaction-mac']],
    ['loaded', 'card', () => ({ cardId: '04FFFFFFFFFF51' }), ['request', 'bill', 'transaction-mac']],
    ['paid', 'operation', ({ operationId }) => ({ operationId: otherHex(operationId, 0) }), ['notice', 'transaction']],
    ['read', 'operation', ({ operationId }) => ({ operationId: otherHex(operationId, 0) }), ['notice', 'transaction']],
    ['paid', 'payment of the same card and amount', () => ({ operationId: read.operationId, proof: read.proof }), ['notice', 'transaction']],
    ['paid', 'amount', () => ({ amountMinor: 1n }), ['bill', 'notice', 'statement', 'consent', 'transaction']],
    ['loaded', 'amount', () => ({ amountMinor: 1n }), ['request', 'bill', 'transaction']],
    ['paid', 'currency', () => ({ currency: 'EUR' }), ['bill', 'notice', 'statement', 'consent']],
    ['loaded', 'currency', () => ({ currency: 'EUR' }), ['request', 'bill']],
    ['paid', 'bill', () => ({ bill: null }), ['bill', 'notice', 'statement', 'consent']],
    ['loaded', 'bill', () => ({ bill: paid.bill }), ['bill']],
    ['paid', 'shop', ({ bill }) => ({ bill: { ...bill!, shopId: 'other' } }), ['bill', 'notice', 'statement', 'consent']],
    ['paid', 'bill\'s number', ({ bill }) => ({ bill: { ...bill!, billId: 'AAAAAAAA' } }), ['bill', 'notice', 'statement', 'consent']],
    ['paid', 'bill\'s digest', ({ bill }) => ({ bill: { ...bill!, billDigest: 'A'.repeat(43) } }), ['bill', 'notice', 'statement', 'consent']],
    ['paid', 'time', ({ decidedAt }) => ({ decidedAt: decidedAt + 1 }), ['notice']],
    ['loaded', 'time, before the card\'s record', ({ decidedAt }) => ({ decidedAt: decidedAt - 2_000 }), ['transaction']],
    ['paid', 'request', () => ({ request: read.request }), ['bill', 'statement', 'consent']],
    ['loaded', 'request', () => ({ request: paid.request }), ['request', 'bill']],
    ['paid', 'request', () => ({ request: loaded.request }), ['request', 'bill', 'statement', 'consent']],
    ['paid', 'statement', () => ({ statement: null }), ['consent']],
    ['paid', 'statement', ({ notice }) => ({ statement: notice }), ['statement', 'consent']],
    ['loaded', 'statement', () => ({ statement: paid.statement }), ['statement']],
    ['paid', 'consent', ({ statement }) => ({ consent: statement }), ['consent']],
    ['loaded', 'consent', () => ({ consent: paid.consent }), ['consent']],
    ['paid', 'notice', () => ({ notice: read.notice }), ['notice']],
    ['loaded', 'notice', () => ({ notice: paid.notice }), ['notice']],
    ['paid', 'count', ({ proof }) => ({ proof: { ...proof, transactionCounter: proof.transactionCounter + 1 } }), ['transaction-mac']],
    ['paid', 'MAC', ({ proof }) => ({ proof: { ...proof, transactionMac: otherHex(proof.transactionMac, 15) } }), ['transaction-mac']],
    ['paid', 'proof', () => ({ proof: loaded.proof }), ['transaction']],
    ['paid', 'transaction', ({ proof }) => ({ proof: { ...proof, transactionMacInput: '' } }), ['transaction', 'transaction-mac']],
  ])('in a receipt of what was %s: another %s', async (which, _what, change, expected) => {
    const receipt = bodies[which]();
    expect(await wrongIn({ ...receipt, ...change(receipt) })).toEqual(expected);
  });
});

describe('a message in a receipt', () => {
  const changed: Record<'request' | 'notice' | 'statement' | 'consent', { tamper: Record<string, unknown>; wrong: string[] }> = {
    request: { tamper: { cardChallenge: 'AB'.repeat(16) }, wrong: ['request', 'bill', 'statement', 'consent'] },
    notice: { tamper: { amountMinor: '1' }, wrong: ['notice'] },
    statement: { tamper: { expiresAt: 1 }, wrong: ['statement', 'consent'] },
    consent: { tamper: { shownDigest: 'A'.repeat(43) }, wrong: ['consent'] },
  };

  it.each(['request', 'notice', 'statement', 'consent'] as const)('does not hold with a change in the %s, nor signed by somebody else', async (which) => {
    const { tamper, wrong } = changed[which];
    const jws = paid[which] as Jws;
    expect(await wrongIn({ ...paid, [which]: tampered(jws, tamper) })).toEqual(wrong);
    // A registered shop, whose chain the checker knows, is no customer and no settlement.
    expect((await wrongIn({ ...paid, [which]: await resigned(jws, {}, world.shop.signer) }))[0]).toBe(wrong[0]);
  });

  it('is taken from its own sender only: another customer\'s consent, a settlement\'s request, a customer\'s bill', async () => {
    const other = await world.newCustomer('04FFFFFFFFFF52', 0n);
    const bill = bodyOf(paid.request)['bill'] as Jws;
    const signer = other.identity.signer;
    expect(await wrongIn({ ...paid, consent: await resigned(paid.consent!, {}, signer) })).toEqual(['consent']);
    expect(await wrongIn({ ...paid, request: await resigned(paid.request, {}, world.applicationParts.signer) })).toEqual(['request', 'bill', 'statement', 'consent']);
    // Rules 13 and 14: the request's signer is the bill's payer.
    expect(await wrongIn({ ...paid, request: await resigned(paid.request, {}, signer) })).toEqual(['bill', 'consent']);
    const ownBill = await resigned(bill, {}, world.customer.identity.signer);
    expect(await wrongIn({ ...paid, request: await resigned(paid.request, { bill: ownBill }, world.customer.identity.signer) })).toContain('bill');
  });

  it('holds with its whole meaning only: a statement whose balances or nonce are others, though the settlement signed it', async () => {
    const { signer } = world.applicationParts;
    const said = async (changes: Record<string, unknown>): Promise<string[]> => wrongIn({ ...paid, statement: await resigned(paid.statement!, changes, signer), consent: null });
    expect(await said({})).toEqual([]);
    expect(await said({ balance: { beforeMinor: '10000', afterMinor: '9999' } })).toEqual(['statement']);
    expect(await said({ balance: { beforeMinor: '9000', afterMinor: '6900' } })).toEqual(['transaction']);
    expect(await said({ paymentNonce: 'A'.repeat(22) })).toEqual(['statement']);
    expect(await said({ cardId: '04FFFFFFFFFF53' })).toEqual(['statement']);
    // The digest is of what was signed, so the bill in the receipt is the one in the request.
    expect(paid.bill?.billDigest).toBe(await digestOf(bodyOf(paid.request)['bill'] as Jws));
  });
});

describe('a receipt that was put together', () => {
  it('for a bill that nobody paid, with the proof of another payment of that card and amount', async () => {
    const settlement = losingSettlement(world, (nth) => (nth > 1 ? 'request-lost' : 'carried'));
    await tryToPay(world, { settlement });
    const { request } = settlement.carried[0]!;
    const bill = bodyOf(request)['bill'] as Jws;
    const { shopId, billId } = bodyOf(bill) as { shopId: string; billId: string };
    const made: Receipt = { ...read, paymentId: crypto.randomUUID(), request, bill: { ...read.bill!, shopId, billId, billDigest: await digestOf(bill) }, statement: null, consent: null };
    expect(await wrongIn({ ...made, notice: null })).toEqual(['notice']);
    expect(await wrongIn(made)).toEqual(['notice']);
  });

  it('from two operations of one card and amount, also where the balance was the same before both', async () => {
    const other = await createInProcessWorld();
    const pay = async () => {
      await tryToPay(other);
      return other.receipt(other.operationIds.at(-1)!);
    };
    const load = async () => {
      await other.load(other.card, 2_100n);
      other.clock.advance(30 * 60_000);
      return other.receipt(other.operationIds.at(-1)!);
    };
    const receipts = [await pay(), await load(), await pay(), await load()] as const;
    const wrong = async (receipt: Receipt) => (await verifyReceipt(receipt, { verifierAt: (at) => other.pki.verifier(() => at), keyStore: other.keyStore })).filter(({ ok }) => !ok).map(({ check }) => check);
    for (const [receipt, { operationId, proof }] of [[receipts[2], receipts[0]], [{ ...receipts[2], statement: null, consent: null }, receipts[0]], [receipts[3], receipts[1]]] as const) {
      expect(await wrong(receipt)).toEqual([]);
      expect(await wrong({ ...receipt, operationId, proof })).toEqual(receipt.kind === 'pay' ? ['notice', 'transaction'] : ['transaction']);
    }
  });
});

describe('a receipt of what was decided when the card came back', () => {
  const LATER_MS = 400 * 86_400_000;

  it('after its signers\' certificates had run out: they were good when it was signed, and not before', async () => {
    const late = { ...loaded, decidedAt: loaded.decidedAt + LATER_MS };
    expect(await wrongIn(late)).toEqual([]);
    expect(await wrongIn(late, { verifierAt: (at) => world.pki.verifier(() => at - LATER_MS) })).toEqual(['request', 'bill']);
    const notice = await resigned(paid.notice!, { outcome: 'not-paid' }, world.applicationParts.signer);
    const owed = { ...paid, decidedAt: paid.decidedAt + LATER_MS, notice };
    expect(await wrongIn(owed)).toEqual([]);
    expect(await wrongIn({ ...owed, notice: await resigned(notice, { at: owed.decidedAt }, world.applicationParts.signer) })).toEqual(['notice', 'statement', 'consent']);
  });
});
