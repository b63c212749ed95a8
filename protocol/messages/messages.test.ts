import { describe, expect, it } from 'vitest';
import * as v from 'valibot';
import { encodeStrictJson, parseStrictJson } from '../json.ts';
import type { BodyOf, MessageType } from '../signed.ts';
import { bill } from './bill.ts';
import { billRequest } from './bill-request.ts';
import { cardAnswer, cardDialog } from './card-dialog.ts';
import { completion, consent } from './completion.ts';
import { decision } from './decision.ts';
import { estimate } from './estimate.ts';
import { failureNotice } from './failure-notice.ts';
import { acknowledgement, notice } from './notice.ts';
import { operatorOrder, operatorReport } from './operator-order.ts';
import { paymentRequest } from './payment-request.ts';
import { linkRequest, readingReport, readingRequest } from './reading.ts';
import { shopStatement } from './shop-statement.ts';
import { refusal, statement } from './statement.ts';

const digest = 'D'.repeat(43);
const nonce = 'n'.repeat(22);
const paymentId = '6f9619ff-8b86-4011-b42d-00c04fc964ff';
const cardId = '04A1B2C3D4E5F6';
const origin = 'https://shop.example:8443';
const jws = `aaaa.bbbb.${'c'.repeat(86)}`;
const cardChallenge = 'AB'.repeat(16);
const commands = [{ apdu: '90C70000', expect: '9100' }, { apdu: '906C000009030000000000000000', expect: '91AF' }];
const at = 1_795_348_800_000;
const claimed = { shopId: 'hanamaru', billId: 'bill-0001', amountMinor: 2_100n, currency: 'JPY' } as const;
const subject = { paymentId, previous: digest, billDigest: digest, ...claimed, cardId, paymentNonce: nonce };
const signed = { orderNonce: nonce, expiresAt: at } as const;
const order = { cardId, cardChallenge, ...signed } as const;
const reported = { paymentId, previous: digest } as const;
const decidedOperation = { paymentId, kind: 'load', amountMinor: 1n, outcome: 'not-done' } as const;
const operationId = '0011223344556677';
const records = [
  { operationId, amountMinor: 900n, timeSeconds: 1_795_348_800, known: { kind: 'pay' as const, outcome: 'done' as const, shopName: 'Hanamaru' } },
  { operationId, amountMinor: 0n, timeSeconds: 1_795_348_700, known: null },
];
const account = {
  cardId, state: 'blocked' as const, blockedAt: at, currency: 'JPY' as const, limitMinor: 50_000n, customerId: paymentId, ledgerMinor: -5n, movableMinor: 0n,
  open: [{ paymentId, kind: 'pay' as const, amountMinor: 5n, shopId: 'hanamaru', writtenAt: at, expired: false }],
};
const receipt = {
  format: 'kessai-receipt-1' as const, paymentId, kind: 'pay' as const, cardId, operationId, amountMinor: 2_100n, currency: 'JPY' as const, bill: { shopId: 'hanamaru', billId: 'bill-0001', billDigest: digest, shopChain: ['AAAA'] },
  decidedAt: at, request: jws, statement: jws, consent: jws, notice: jws, proof: { keyVersion: 1, transactionCounter: 2, transactionMac: operationId, transactionMacInput: '8B01' },
};

interface Sample {
  readonly type: MessageType;
  readonly body: object;
}
const sample = <Type extends MessageType>(type: Type, body: BodyOf<Type>): Sample => ({ type, body });

const SAMPLES: readonly Sample[] = [
  sample(shopStatement, { shopId: 'hanamaru', origin, minimumVersion: '0.1.0' }),
  sample(decision, { origin, lines: [{ productId: 'sencha', quantity: 2 }], nonce }),
  sample(estimate, {
    shopId: 'hanamaru', origin, orderId: 'order-1', decisionDigest: digest, totalMinor: 2_100n, currency: 'JPY',
    lines: [{ productId: 'sencha', name: 'Sencha', quantity: 2, unitMinor: 600n, lineMinor: 1_200n }, { productId: 'kokoro', name: '心', quantity: 1, unitMinor: 900n, lineMinor: 900n }],
  }),
  sample(billRequest, { origin, orderId: 'order-1', estimateDigest: digest, billNonce: nonce }),
  sample(bill, { ...claimed, origin, estimateDigest: digest, expiresAt: at, payer: digest, billNonce: nonce }),
  sample(paymentRequest, { bill: jws, cardId, paymentNonce: nonce, cardChallenge, readBalance: true }),
  sample(cardDialog, { paymentId, nonce, previous: digest, phase: 'read', commands }),
  sample(cardAnswer, { paymentId, previous: digest, responses: ['9100', '00009100'] }),
  sample(statement, { ...subject, balance: { beforeMinor: 10_000n, afterMinor: 7_900n }, spc: commands, expiresAt: at }),
  sample(statement, { ...subject, balance: null, spc: commands, expiresAt: at }),
  sample(refusal, { ...subject, reason: 'balance-too-low', balanceMinor: 5n }),
  sample(consent, { paymentId, statementDigest: digest, shownDigest: digest }),
  sample(completion, { paymentId, previous: digest, consent: jws, responses: ['9100'] }),
  sample(notice, { paymentId, operationId, billDigest: digest, ...claimed, outcome: 'paid', at }),
  sample(acknowledgement, { noticeDigest: digest, shopId: 'hanamaru', billId: 'bill-0001' }),
  sample(readingRequest, { cardId, readingNonce: nonce, cardChallenge, about: paymentId, history: true }),
  sample(linkRequest, { cardId, readingNonce: nonce, cardChallenge, activationCode: 'ABCD-EFGH-JKMN-PQRS' }),
  sample(readingReport, {
    paymentId, previous: digest, readingNonce: nonce, cardId, balanceMinor: 0n,
    decided: [{ paymentId, billDigest: digest, shopId: 'hanamaru', billId: 'bill-0001', amountMinor: 1n, outcome: 'paid', notice: jws }],
    card: { state: 'active', currency: 'JPY', limitMinor: 50_000n }, records,
  }),
  sample(failureNotice, { request: digest, code: 'bill/expired', step: 'ST9' }),
  sample(operatorOrder, { kind: 'issue', ...order, currency: 'JPY', limitMinor: 50_000n, holder: { is: 'new-customer', name: 'Hanako' } }),
  sample(operatorOrder, { kind: 'issue', ...order, cardChallenge: null, currency: 'JPY', limitMinor: 50_000n, holder: { is: 'bearer-of-code' } }),
  sample(operatorOrder, { kind: 'load', ...order, currency: 'JPY', amountMinor: 10_000n }),
  sample(operatorOrder, { kind: 'replace', ...order, currency: 'JPY', amountMinor: 10_000n, lostCardId: cardId, countAsNotDebited: [paymentId] }),
  sample(operatorOrder, { kind: 'show', ...order }),
  sample(operatorOrder, { kind: 'account', ...signed, cardId }),
  sample(operatorOrder, { kind: 'block', ...signed, cardId }),
  sample(operatorOrder, { kind: 'receipt', ...signed, paymentId }),
  sample(operatorOrder, { kind: 'enrolment-code', ...signed, customerId: paymentId }),
  sample(operatorOrder, { kind: 'activation-code', ...signed, cardId }),
  sample(operatorReport, { kind: 'issue', ...reported, cardId, customerId: paymentId, enrolmentCode: 'ABCD-EFGH-JKMN-PQRS', activationCode: null }),
  sample(operatorReport, { kind: 'load', ...reported, cardId, amountMinor: 1n, balanceAfterMinor: null, decided: [decidedOperation] }),
  sample(operatorReport, { kind: 'replace', ...reported, cardId, lostCardId: cardId, amountMinor: 1n, balanceAfterMinor: 5n, decided: [] }),
  sample(operatorReport, { kind: 'show', ...reported, account, balanceMinor: 1n, records, decided: [] }),
  sample(operatorReport, { kind: 'account', ...reported, account }),
  sample(operatorReport, { kind: 'block', ...reported, account }),
  sample(operatorReport, { kind: 'receipt', ...reported, receipt }),
  sample(operatorReport, { kind: 'enrolment-code', ...reported, customerId: paymentId, enrolmentCode: 'ABCD-EFGH-JKMN-PQRS' }),
  sample(operatorReport, { kind: 'activation-code', ...reported, cardId, activationCode: 'ABCD-EFGH-JKMN-PQRS' }),
];

type Path = readonly (string | number)[];
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const wireOf = (body: object): Json => parseStrictJson(encodeStrictJson(body)) as Json;

function pathsOf(value: Json, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  const inner = Array.isArray(value) ? value.map((part, i) => [i, part] as const) : Object.entries(value);
  return [path, ...inner.flatMap(([key, part]) => pathsOf(part, [...path, key]))];
}

const valueAt = (value: Json, path: Path): Json => path.reduce<Json>((part, key) => (part as Record<string, Json>)[key]!, value);

/** A copy with the value at `path` replaced, or taken away. */
function changed(value: Json, path: Path, replacement: Json | undefined): Json {
  const copy = structuredClone(value);
  const [last, ...rest] = [...path].reverse();
  if (last === undefined) return replacement ?? null;
  const parent = valueAt(copy, rest.reverse()) as Record<string, Json>;
  if (replacement === undefined) Reflect.deleteProperty(parent, last);
  else parent[last] = replacement;
  return copy;
}

/** A list that may be empty, a flag, and the words that a shop or operator writes freely take what the others do not. */
function isRightful(path: Path, was: Json, now: Json): boolean {
  const key = String(path.at(-1));
  if (Array.isArray(now)) return ['responses', 'decided', 'records', 'open', 'countAsNotDebited', 'shopChain'].includes(key);
  if (typeof now === 'boolean') return typeof was === 'boolean';
  return ['name', 'productId', 'shopName'].includes(key) && (now === ' ' || now === '\u0000');
}

const keyOf = (path: Path): string => path.join('.') || 'body';

describe.each(SAMPLES)('$type.typ', ({ type, body }) => {
  const wire = wireOf(body);
  const accepts = (value: Json): boolean => v.is(type.schema, value);

  it('takes its own encoding and gives the same body', () => {
    expect(v.parse(type.schema, wire)).toEqual(body);
  });

  it('misses no field', () => {
    const fields = pathsOf(wire).filter((path) => typeof path.at(-1) === 'string');
    expect(fields.filter((path) => accepts(changed(wire, path, undefined))).map(keyOf)).toEqual([]);
  });

  it('has no other field, at any depth', () => {
    const objects = pathsOf(wire).filter((path) => typeof valueAt(wire, path) === 'object' && valueAt(wire, path) !== null && !Array.isArray(valueAt(wire, path)));
    expect(objects.filter((path) => accepts(changed(wire, [...path, 'extra'], 'x'))).map(keyOf)).toEqual([]);
  });

  it('takes no value of another kind, at any depth', () => {
    for (const wrong of [{}, -1, 1.5, true, ' ', '\u0000', 'x'.repeat(40_000), []] as Json[]) {
      const taken = pathsOf(wire).filter((path) => accepts(changed(wire, path, wrong)));
      const wrongly = taken.filter((path) => !isRightful(path, valueAt(wire, path), wrong));
      expect([JSON.stringify(wrong).slice(0, 20), wrongly.map(keyOf)]).toEqual([JSON.stringify(wrong).slice(0, 20), []]);
    }
  });
});

it('every message has its own type (payment-rules 18)', () => {
  const types = [...new Set(SAMPLES.map(({ type }) => type))];
  expect(new Set(types.map(({ typ }) => typ)).size).toBe(types.length);
  for (const { typ } of types) expect(typ).toMatch(/^kessai-[a-z]+(-[a-z]+)*$/);
});

describe('a field has one spelling', () => {
  const of = (type: MessageType): Json => wireOf(SAMPLES.find((one) => one.type === type)!.body);
  it.each<[string, MessageType, Path, Json[]]>([
    ['an amount', bill, ['amountMinor'], ['0', '-1', '01', '1.0', '2147483648', 2100]],
    ['a currency', bill, ['currency'], ['jpy', 'XXX', '']],
    ['an origin', bill, ['origin'], ['http://shop.example', 'https://Shop.example', 'https://shop.example/', 'https://shop.example:0', 'https://a@shop.example', 'https://shop.example:8443/x', 'null', 'https://', `https://${'a'.repeat(200)}`]],
    ['a shop id', bill, ['shopId'], ['', 'H', 'Hanamaru', 'hana maru', '1shop', `h${'a'.repeat(32)}`]],
    ['a bill id', bill, ['billId'], ['', 'short', 'has blank 1', 'a'.repeat(41)]],
    ['a digest', bill, ['payer'], ['D'.repeat(42), 'D'.repeat(44), `${'D'.repeat(42)}+`, `${'D'.repeat(42)}=`]],
    ['a nonce', bill, ['billNonce'], ['n'.repeat(21), 'n'.repeat(23), `${'n'.repeat(21)}.`]],
    ['a time', bill, ['expiresAt'], ['1795348800000', -1, 1.5, 2 ** 53]],
    ['a card', paymentRequest, ['cardId'], ['04a1b2c3d4e5f6', '05A1B2C3D4E5F6', '04A1B2C3D4E5', '04A1B2C3D4E5F600']],
    ['a challenge', paymentRequest, ['cardChallenge'], ['', 'AB'.repeat(15), 'AB'.repeat(17), 'ab'.repeat(16)]],
    ['a payment number', consent, ['paymentId'], ['', paymentId.toUpperCase(), paymentId.replaceAll('-', ''), `{${paymentId}}`, 'x'.repeat(36)]],
    ['a command', cardDialog, ['commands', 0, 'apdu'], ['', '9060', '90c70000', '90C7000', 'AA'.repeat(262)]],
    ['an expected status', cardDialog, ['commands', 0, 'expect'], ['', '91', '91af', '091AF']],
    ['a batch', cardDialog, ['commands'], [[], Array.from({ length: 33 }, () => ({ apdu: '90600000', expect: '9100' }))]],
    ['a phase', cardDialog, ['phase'], ['debit', 'READ', '']],
    ['an answer of the card', cardAnswer, ['responses', 0], ['', '91', '91a', '91af', 'AA'.repeat(259)]],
    ['the answers of the card', cardAnswer, ['responses'], [Array.from({ length: 33 }, () => '9100')]],
    ['a quantity', decision, ['lines', 0, 'quantity'], [0, -1, 100, 1.5, '2']],
    ['an order', decision, ['lines'], [[], Array.from({ length: 51 }, () => ({ productId: 'sencha', quantity: 1 }))]],
    ['a product', decision, ['lines', 0, 'productId'], ['', '-x', 'Sencha', 'a'.repeat(41), '../x']],
    ['a failure code', failureNotice, ['code'], ['', 'toString', 'no/such']],
    ['a step', failureNotice, ['step'], ['', 'ST0', 'ST21', 'st9']],
    ['an outcome', notice, ['outcome'], ['', 'PAID', 'unknown']],
    ['a version', shopStatement, ['minimumVersion'], ['', '1', '1.0', '1.0.0-beta', 'v1.0.0', '1.0.0.0']],
    ['a load of nothing', operatorOrder, ['limitMinor'], ['0', '-5']],
  ])('%s', (_what, type, path, spellings) => {
    for (const spelling of spellings) expect([spelling, v.is(type.schema, changed(of(type), path, spelling))]).toEqual([spelling, false]);
  });
});

describe('an estimate', () => {
  const wire = wireOf(SAMPLES.find(({ type }) => type === estimate)!.body);
  it.each<[string, Path, string]>([
    ['a total that is not the sum', ['totalMinor'], '2101'],
    ['a total of nothing', ['totalMinor'], '0'],
    ['a line that does not multiply', ['lines', 0, 'lineMinor'], '1201'],
    ['a unit price that does not multiply', ['lines', 1, 'unitMinor'], '901'],
  ])('with %s is refused', (_what, path, value) => {
    expect(v.is(estimate.schema, changed(wire, path, value))).toBe(false);
  });
  it('with another quantity is refused', () => {
    expect(v.is(estimate.schema, changed(wire, ['lines', 0, 'quantity'], 3))).toBe(false);
  });
});
