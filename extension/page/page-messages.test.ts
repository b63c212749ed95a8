import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ENVELOPE, isSignedMessage, parseFromPage, parseToPage } from './page-messages.ts';

const JWS = `eyJh.e30.${'A'.repeat(86)}`;
const toExtension = (message: unknown) => ({ [ENVELOPE]: 'to-extension', message });

test('the three messages of a page are understood, and nothing beside their fields is kept', () => {
  expect(parseFromPage(toExtension({ type: 'introduce', id: 1, statement: JWS, extra: 1 }))).toEqual({ type: 'introduce', id: 1, statement: JWS });
  expect(parseFromPage(toExtension({ type: 'pay', id: 2, order: { lines: [] } }))).toEqual({ type: 'pay', id: 2, order: { lines: [] } });
  expect(parseFromPage(toExtension({ type: 'carried', id: 2, exchange: 1, message: JWS }))).toEqual({ type: 'carried', id: 2, exchange: 1, message: JWS });
});

test('what the shop answers unsigned is carried as no answer', () => {
  expect(parseFromPage(toExtension({ type: 'carried', id: 2, exchange: 1, message: '<html>' }))).toEqual({ type: 'carried', id: 2, exchange: 1, message: null });
});

test.each([
  ['nothing', undefined],
  ['null', null],
  ['a text', 'to-extension'],
  ['no envelope', { type: 'pay', id: 1, order: {} }],
  ['our own word to the page', { [ENVELOPE]: 'to-page', message: { type: 'introduce', id: 1, statement: JWS } }],
  ['an envelope without a message', toExtension(null)],
  ['no id', toExtension({ type: 'pay', order: {} })],
  ['id 0', toExtension({ type: 'pay', id: 0, order: {} })],
  ['a fractional id', toExtension({ type: 'pay', id: 1.5, order: {} })],
  ['an id in a text', toExtension({ type: 'pay', id: '1', order: {} })],
  ['an unknown type', toExtension({ type: 'constructor', id: 1 })],
  ['an introduction without a statement', toExtension({ type: 'introduce', id: 1 })],
  ['a statement that is no JWS', toExtension({ type: 'introduce', id: 1, statement: 'a.b.c' })],
  ['a statement too long', toExtension({ type: 'introduce', id: 1, statement: `${'a'.repeat(33_000)}.e30.${'A'.repeat(86)}` })],
  ['no order', toExtension({ type: 'pay', id: 1 })],
  ['an order too large', toExtension({ type: 'pay', id: 1, order: 'x'.repeat(9_000) })],
  ['an order that is no JSON', toExtension({ type: 'pay', id: 1, order: 1n })],
  ['an exchange without a number', toExtension({ type: 'carried', id: 1, message: JWS })],
])('ignored: %s', (_, data) => {
  expect(parseFromPage(data)).toBeUndefined();
});

test('no data whatever makes the parsers throw', () => {
  fc.assert(
    fc.property(fc.anything(), (value) => {
      parseFromPage(value);
      parseFromPage(toExtension(value));
      parseToPage({ [ENVELOPE]: 'to-page', message: value });
    }),
  );
});

test('a signed message is three base64url parts with an ES256 signature', () => {
  expect(isSignedMessage(JWS)).toBe(true);
  expect(isSignedMessage(`${JWS}A`)).toBe(false);
  expect(isSignedMessage(`${JWS}\n`)).toBe(false);
  expect(isSignedMessage({ toString: () => JWS })).toBe(false);
});
