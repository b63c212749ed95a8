/** An application server, or somebody in its place, that lies: nothing is shown, nothing of the debit reaches the card; after the debit a lie is not believed. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cardDialog } from '#protocol/messages/card-dialog.ts';
import { failureNotice } from '#protocol/messages/failure-notice.ts';
import { notice } from '#protocol/messages/notice.ts';
import { statement } from '#protocol/messages/statement.ts';
import type { Outcome } from '#protocol/parties.ts';
import { digestOf, signMessage, type Jws, type Signer } from '#protocol/signed.ts';
import { createInProcessPki } from './in-process-pki.ts';
import { assertConserved } from './in-process-audit.ts';
import { createInProcessWorld, ORDER_TOTAL_MINOR, type InProcessWorld } from './in-process.ts';
import { bodyOf, carriedSettlement, otherwise, resigned, tampered, tryToPay, type Carried } from './payment.fixture.ts';

const WRITE_RECORD = 0x8b;
const STATEMENT_ROUND = 3;

let world: InProcessWorld;
let before: bigint;
let asked: number;
beforeAll(async () => {
  world = await createInProcessWorld({ balanceMinor: 50_000n });
});
beforeEach(async () => {
  if (world.card.balanceMinor() < 3n * ORDER_TOTAL_MINOR) await world.load(world.card, 40_000n);
  world.card.commands.length = 0;
  before = world.card.balanceMinor();
  asked = 0;
});
afterEach(() => assertConserved(world));

/** The settlement with the answers of some rounds changed by whoever sits there. */
let outcome: Outcome | undefined;
async function payWhere(change: (answer: Jws, nth: number, round: Carried) => Jws | Promise<Jws>): Promise<string> {
  const settlement = carriedSettlement(world.settlement(), async (round, send, nth) => change(await send(), nth, round));
  const counting = { agreeToDebit: () => { asked += 1; return Promise.resolve({ agreed: true, shown: '' }); } };
  const paid = await tryToPay(world, { settlement }, counting);
  outcome = paid.outcome;
  return paid.said;
}
const own = (): Signer => world.applicationParts.signer;
const inRound = (nth: number, change: (answer: Jws) => Jws | Promise<Jws>) => payWhere((answer, at) => (at === nth ? change(answer) : answer));

function nothingWasShownNorTaken(): void {
  expect(asked).toBe(0);
  expect(world.card.commands.filter((apdu) => apdu[1] === WRITE_RECORD)).toEqual([]);
  expect(world.card.balanceMinor()).toBe(before);
}

describe('somebody who is not the settlement', () => {
  it.each([1, 2, 3])('answers in round %i', async (nth) => {
    const foreign = await (await createInProcessPki(world.clock.now())).signer({ role: 'settlement', commonName: 'settlement' }, () => undefined);
    expect(await inRound(nth, (answer) => resigned(answer, {}, foreign))).toMatch(/^settlement\/certificate at /);
    nothingWasShownNorTaken();
  });

  it.each(['customer', 'shop', 'operator'] as const)('has a certificate of ours, as a %s', async (role) => {
    const named = role === 'shop' ? { organization: 'X', origins: ['https://x.localhost'] } : {};
    const signer = await world.pki.signer({ role, commonName: 'x', ...named }, () => undefined);
    for (const nth of [1, 3]) expect(await inRound(nth, (answer) => resigned(answer, {}, signer))).toMatch(/^settlement\/certificate at /);
    nothingWasShownNorTaken();
  });

  it.each(Object.keys(statement.schema.entries))('changes the statement\'s %s on the way', async (field) => {
    expect(await inRound(STATEMENT_ROUND, (answer) => tampered(answer, { [field]: field === 'balance' || field === 'spc' ? null : otherwise(bodyOf(answer)[field]) }))).toBe('settlement/signature at ST15');
    nothingWasShownNorTaken();
  });

  it.each(Object.keys(cardDialog.schema.entries))('changes the dialog\'s %s on the way', async (field) => {
    expect(await inRound(2, (answer) => tampered(answer, { [field]: field === 'commands' ? [] : otherwise(bodyOf(answer)[field]) }))).toMatch(/^settlement\/signature at /);
    nothingWasShownNorTaken();
  });

  it('invents a failure', async () => {
    const customer = world.customer.identity.signer;
    const invented = async (_answer: Jws, _nth: number, { request }: Carried): Promise<Jws> => signMessage(failureNotice, { request: await digestOf(request), code: 'bill/already-paid', step: null }, customer, { introduce: true });
    expect(await payWhere(invented)).toMatch(/^settlement\/certificate at /);
    nothingWasShownNorTaken();
  });
});

describe('a settlement that signs a statement over other data', () => {
  const compared = ['paymentId', 'previous', 'billDigest', 'shopId', 'billId', 'amountMinor', 'currency', 'cardId', 'paymentNonce'];
  it.each(compared)('another %s', async (field) => {
    expect(await inRound(STATEMENT_ROUND, (answer) => resigned(answer, { [field]: otherwise(bodyOf(answer)[field]) }, own()))).toBe('settlement/mismatch at ST15');
    nothingWasShownNorTaken();
  });

  it('a balance that does not subtract, or none', async () => {
    for (const balance of [null, { beforeMinor: '50000', afterMinor: '50000' }, { beforeMinor: '1', afterMinor: '0' }]) {
      expect(await inRound(STATEMENT_ROUND, (answer) => resigned(answer, { balance }, own()))).toBe('settlement/mismatch at ST15');
    }
    expect(await inRound(STATEMENT_ROUND, (answer) => resigned(answer, { balance: { beforeMinor: '100', afterMinor: '-2000' } }, own()))).toBe('message/malformed at ST15');
    nothingWasShownNorTaken();
  });

  it('an older statement', async () => {
    const statements: Jws[] = [];
    await inRound(STATEMENT_ROUND, (answer) => { statements.push(answer); return tampered(answer, {}); });
    before = world.card.balanceMinor();
    world.card.commands.length = 0;
    asked = 0;
    expect(await inRound(STATEMENT_ROUND, () => statements[0]!)).toBe('settlement/mismatch at ST15');
    nothingWasShownNorTaken();
  });

  it('a refusal about another payment', async () => {
    const { said } = await tryToPay(world, {
      settlement: carriedSettlement(world.settlement(), async (_round, send, nth) => {
        const answer = await send();
        return nth === 3 ? resigned(answer, { billId: 'another-bill' }, own()) : answer;
      }),
    }, {}, { order: { lines: [{ productId: 'ink', quantity: 9 }] } });
    expect(said).toBe('settlement/mismatch at ST15');
    nothingWasShownNorTaken();
  });

  it('an SPC that it made up: the card refuses it, and the outcome is not paid, proved by a reading', async () => {
    const spc = [{ apdu: `908B00002F0100000010000${'0'.repeat(81)}00`, expect: '9100' }];
    expect(await inRound(STATEMENT_ROUND, (answer) => resigned(answer, { spc }, own()))).toBe('not-paid: not-debited');
    expect(world.card.balanceMinor()).toBe(before);
  });
});

describe('a settlement that leads the dialog astray', () => {
  it.each<[string, number, Record<string, unknown>, RegExp]>([
    ['with the nonce of another request', 1, { nonce: 'n'.repeat(22) }, /^message\/not-fresh/],
    ['as an answer to another request', 2, { previous: 'D'.repeat(43) }, /^message\/not-fresh/],
    ['under another number', 2, { paymentId: '6f9619ff-8b86-4011-b42d-00c04fc964ff' }, /^settlement\/mismatch/],
    ['into issuing', 1, { phase: 'issue' }, /^settlement\/mismatch/],
    ['into loading', 1, { phase: 'load' }, /^settlement\/mismatch/],
    ['into reading without authentication', 1, { phase: 'read' }, /^settlement\/mismatch/],
    ['into newer keys after authentication', 2, { phase: 'rekey' }, /^settlement\/mismatch/],
    ['to newer keys by any other command', 1, { phase: 'rekey', commands: [{ apdu: '90DC00000503640000', expect: '9100' }] }, /^reader\/refused-command/],
    ['to a debit without consent', 2, { commands: [{ apdu: '90DC00000503640000', expect: '9100' }] }, /^reader\/refused-command/],
    ['to a log record without consent', 2, { commands: [{ apdu: '908B00000701000000000000', expect: '9100' }] }, /^reader\/refused-command/],
    ['to the loading key', 1, { commands: [{ apdu: '9071000002030000', expect: '91AF' }] }, /^reader\/refused-command/],
    ['to a change of keys', 2, { commands: [{ apdu: '90C4000001010000', expect: '9100' }] }, /^reader\/refused-command/],
    ['with no commands', 2, { commands: [] }, /^message\/malformed/],
  ])('%s', async (_what, nth, changes, said) => {
    expect(await inRound(nth, (answer) => resigned(answer, changes, own()))).toMatch(said);
    nothingWasShownNorTaken();
  });

  it('without end', async () => {
    let last: Jws = '';
    const endless = async (answer: Jws, _nth: number, { request }: Carried): Promise<Jws> => {
      const { phase } = bodyOf(answer);
      if (phase !== undefined) return (last = answer);
      const { paymentId, nonce } = bodyOf(last) as { paymentId: string; nonce: string };
      return signMessage(cardDialog, { paymentId, nonce, previous: await digestOf(request), phase: 'read', commands: [{ apdu: '9060000000', expect: '91AF' }] }, own());
    };
    expect(await payWhere(endless)).toMatch(/^settlement\/mismatch/);
    nothingWasShownNorTaken();
  });

  it('to something that is no dialog at all', async () => {
    const body = { paymentId: '6f9619ff-8b86-4011-b42d-00c04fc964ff', operationId: '0011223344556677', billDigest: 'D'.repeat(43), shopId: 'hanamaru', billId: 'bill-0001', amountMinor: 1n, currency: 'JPY', outcome: 'paid', at: 0 } as const;
    expect(await inRound(1, () => signMessage(notice, body, own(), { introduce: true }))).toMatch(/^message\/wrong-type/);
    nothingWasShownNorTaken();
  });
});

describe('after the debit', () => {
  // The card was debited: whatever is said then, the outcome is what an authenticated reading proves.
  it.each(Object.keys(notice.schema.entries).filter((field) => field !== 'at'))('a completed notice with another %s is not believed; a reading proves the payment', async (field) => {
    expect(await inRound(4, (answer) => resigned(answer, { [field]: field === 'outcome' ? 'not-paid' : otherwise(bodyOf(answer)[field]) }, own()))).toBe('paid');
    // The receipt is the notice that the reading brought, not the one that lied.
    const settled = await world.store.find(world.operationIds.at(-1) ?? '');
    expect(outcome).toMatchObject({ kind: 'paid', notice: settled?.notice });
    expect(world.card.balanceMinor()).toBe(before - ORDER_TOTAL_MINOR);
  });

  it('a notice and a report that both lie about the payment leave it unknown, never "not paid"', async () => {
    const lies = async (answer: Jws, nth: number): Promise<Jws> => {
      if (nth === 4) return resigned(answer, { billId: 'another-bill' }, own());
      const { decided } = bodyOf(answer) as { decided?: { outcome: string }[] };
      return decided === undefined ? answer : resigned(answer, { decided: decided.map((one) => ({ ...one, billDigest: 'D'.repeat(43), outcome: 'not-paid', notice: null })) }, own());
    };
    expect(await payWhere(lies)).toBe('unknown: settlement/mismatch');
    expect(world.card.balanceMinor()).toBe(before - ORDER_TOTAL_MINOR);
  });

  it('a failure that says nothing was taken is not believed', async () => {
    const failing = async (answer: Jws, nth: number, { request }: Carried): Promise<Jws> => (nth === 4 ? signMessage(failureNotice, { request: await digestOf(request), code: 'bill/expired', step: null }, own(), { introduce: true }) : answer);
    expect(await payWhere(failing)).toBe('paid');
  });
});
