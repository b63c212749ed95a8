/** Re-keying on the simulated chip, through the gate of a payment: from any mixture of two versions that a card can be left in, and never without a way on. */
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createApduGate } from '#bridge/apdu-gate.ts';
import { walletApplication, type CardImage } from '#card-firmware-sim/card-image.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { openContact } from '#protocol/card-contact.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeResponses, parseCommands } from '#protocol/messages/fields.ts';
import { deriveCardKeys } from '#servers/security/issuing/card-state.ts';
import { issueCard } from '#servers/security/issuing/issue.ts';
import { openWallet, parseOpening } from '#servers/security/layout.ts';
import { createMemorySecurityStore } from '#servers/security/memory-store.ts';
import type { SessionContext } from '#servers/security/parts.ts';
import { createRekeying, type Rekeying } from '#servers/security/issuing/rekeying.ts';
import { CardSessions } from '#servers/security/sessions.ts';
import type { SecurityStore } from '#servers/security/store.ts';
import type { OpenedOrRekey } from '#servers/shared/apis/security.ts';
import { deriveAuthenticationKeys, openSession } from '#servers/security/wire.ts';
import { CardOnReader, codeOf, tears, versionedKeyStore, type Tear } from './card-on-reader.fixture.ts';

const CARD_ID = '04DE5F1EACC040';
const UID = parseHex(CARD_ID);
const ISSUE_ID = parseHex('0102030405060708');
const LOAD_ID = parseHex('1112131415161718');
const BALANCE_MINOR = 5_000n;
const random = (length: number) => crypto.getRandomValues(new Uint8Array(length));

/** Issued under version 1 and loaded: what every test begins with. */
let issuedImage: CardImage;
let card: CardOnReader;
let keyStore: ReturnType<typeof versionedKeyStore>;
let store: SecurityStore;
let sessions: CardSessions<SessionContext>;
let rekeying: Rekeying;

beforeAll(async () => {
  const fresh = new CardOnReader(createFactoryImage({ profile: 'ev3', uid: UID, random }));
  const version1 = versionedKeyStore();
  await fresh.carryOut(issueCard({ uid: UID, keyStore: version1, limitMinor: 100_000n, operationId: ISSUE_ID, timeSeconds: 1, isRecorded: false, random }, null));
  const session = new CardSessions<null>().begin(UID, null);
  const command = session.authenticate(parseOpening(await fresh.transmit(openWallet(3))), await deriveAuthenticationKeys({ keyStore: version1 }, UID, 3, 1));
  session.takeAuthentication(await fresh.transmit([command]));
  await fresh.transmit(session.prepareTransfer({ kind: 'credit', operationId: LOAD_ID, amountMinor: BALANCE_MINOR, timeSeconds: 2, readBalanceAfter: false }).commands);
  issuedImage = fresh.memory.image;
});

async function layOnReader(image = issuedImage): Promise<void> {
  card = new CardOnReader(image);
  keyStore = versionedKeyStore(2);
  store = createMemorySecurityStore();
  sessions = new CardSessions<SessionContext>();
  rekeying = createRekeying({ store, keyStore, sessions, random });
  await store.recordIssued({ cardId: CARD_ID, keyVersion: 1, issuedAt: 1 });
}
beforeEach(() => layOnReader());

/** One contact: identified, re-keyed, and answered with the challenge that the session goes on with. `seen`: what the store says when a batch leaves. */
async function rekey(tear?: Tear): Promise<{ cardChallenge: string; turns: string[]; recorded: (number | null | undefined)[] }> {
  card.tearAt(undefined);
  const gate = createApduGate(card.channel);
  const { signal } = new AbortController();
  const transmit = (phase: 'identify' | 'rekey', commands: Parameters<CardOnReader['transmit']>[0]) => {
    gate.enter(phase);
    return gate.channel.transmit(commands, signal);
  };
  await openContact({ readerName: '', onLost: () => undefined, transmit: (_phase, commands) => transmit('identify', commands), debit: () => Promise.reject(new Error('no debit')), close: () => Promise.resolve() }, 1);
  card.tearAt(tear);
  const { sessionId, commands } = await rekeying.openRekey({ cardId: CARD_ID });
  const [turns, recorded]: [string[], (number | null | undefined)[]] = [[], []];
  for (let batch = commands; ; ) {
    const turn = await rekeying.continueRekey({ sessionId, responses: encodeResponses(await transmit('rekey', parseCommands(batch))) });
    turns.push(turn.at);
    recorded.push((await store.findCard(CARD_ID))?.rekeyingTo);
    if (turn.at === 'done') return { cardChallenge: turn.cardChallenge, turns, recorded };
    batch = turn.commands;
  }
}

const torn = (tear: Tear): Promise<unknown> => rekey(tear).then(() => 'done', (thrown: unknown) => thrown);
const open = (cardChallenge: string, keysMayWait = false): Promise<OpenedOrRekey> => openSession({ store, keyStore, sessions }, { cardId: CARD_ID, cardChallenge }, { cardChallenge: null, keysMayWait }, { kind: 'reading' });

/** All keys of this version, money and log as they were, and the challenge opens a session that reads them. */
async function expectRekeyed(cardChallenge: string, version = 2): Promise<void> {
  const keys = await deriveCardKeys(keyStore, UID, version);
  const wallet = walletApplication(card.memory.image)!;
  expect(wallet.keys.map(({ value, version: held }) => [encodeHex(value), held])).toEqual([0, 1, 2, 3, 4].map((number) => [encodeHex(keys.cardKeys[number as 0]), version]));
  expect(wallet.files.find(({ type }) => type === 'transaction-mac')).toMatchObject({ appTmKey: keys.transactionMacKey, keyVersion: version, counter: 0, rights: { readWrite: 0xf, change: 0, read: 1, write: 0xf } });
  expect(await store.findCard(CARD_ID)).toEqual({ cardId: CARD_ID, keyVersion: version, rekeyingTo: null, issuedAt: 1 });
  const opened = await open(cardChallenge);
  if (opened.at !== 'opened') throw new Error('re-keyed, and still not up to date');
  const session = sessions.get(opened.sessionId);
  session.takeAuthentication(await card.transmit(parseCommands(opened.commands)));
  const reading = session.takeReading(await card.transmit(session.requestReading('history')));
  expect(reading).toMatchObject({ balanceMinor: BALANCE_MINOR, keyVersion: version, transactionCounter: 0, records: [{ operationId: LOAD_ID, amountMinor: BALANCE_MINOR }, { operationId: ISSUE_ID, amountMinor: 0n }] });
  const transfer = session.prepareTransfer({ kind: 'debit', operationId: parseHex('2122232425262728'), amountMinor: 1n, timeSeconds: 3, readBalanceAfter: true });
  expect(sessions.verifyTransfer(session.id, await card.transmit(transfer.commands))).toMatchObject({ outcome: 'committed', transactionCounter: 1, balanceAfterMinor: BALANCE_MINOR - 1n });
}

describe('a card with older keys', () => {
  it('is asked to be re-keyed first, unless something is unresolved; then it reads under its older keys', async () => {
    expect(await open('00'.repeat(16))).toEqual({ at: 'rekey-first', torn: false });
    expect(sessions.liveCount).toBe(0);
    expect(await open('00'.repeat(16), true)).toMatchObject({ at: 'opened' });
  });

  it('gets all keys anew, is remembered as being re-keyed before anything changes, and is used at once', async () => {
    const { cardChallenge, turns, recorded } = await rekey();
    expect(turns).toEqual(['asking', 'asking', 'changing', 'asking', 'done']);
    expect(recorded).toEqual([null, null, 2, 2, null]);
    await expectRekeyed(cardChallenge);
  });

  it('goes on from wherever it is lifted, before or after any command', async () => {
    let lifted = 0;
    const recorded = new Set<string>();
    for (const tear of tears()) {
      await layOnReader();
      const outcome = await torn(tear);
      if (outcome === 'done') break;
      expect(outcome).toBeInstanceOf(Failure);
      lifted++;
      const { keyVersion, rekeyingTo } = (await store.findCard(CARD_ID))!;
      recorded.add(`${keyVersion} to ${rekeyingTo}`);
      if (rekeyingTo !== null) for (const keysMayWait of [false, true]) expect(await open('00'.repeat(16), keysMayWait)).toEqual({ at: 'rekey-first', torn: true });
      // Lifted after everything was proved: nothing is left to be done.
      if (keyVersion === 2) await expectRekeyed(encodeHex(parseOpening(await card.transmit(openWallet(1)))));
      else await expectRekeyed((await rekey()).cardChallenge);
    }
    expect(lifted).toBeGreaterThan(30);
    expect([...recorded]).toEqual(['1 to null', '1 to 2', '2 to null']);
  });

  it('goes on however often it is lifted', async () => {
    const anyTear = fc.record({ command: fc.integer({ min: 1, max: 20 }), when: fc.constantFrom('before' as const, 'after' as const) });
    await fc.assert(
      fc.asyncProperty(fc.array(anyTear, { minLength: 2, maxLength: 5 }), async (all) => {
        await layOnReader();
        for (const tear of all) {
          if ((await torn(tear)) === 'done' || (await store.findCard(CARD_ID))?.keyVersion === 2) break;
        }
        const isDone = (await store.findCard(CARD_ID))?.keyVersion === 2;
        await expectRekeyed(isDone ? encodeHex(parseOpening(await card.transmit(openWallet(1)))) : (await rekey()).cardChallenge);
      }),
      { numRuns: 40 },
    );
  });

  it('that was lifted is finished as it was begun, although the store has newer keys by now, and re-keyed again at the next contact', async () => {
    expect(await torn({ command: 13, when: 'after' })).toBeInstanceOf(Failure);
    keyStore.current = 3;
    const { cardChallenge } = await rekey();
    expect(await store.findCard(CARD_ID)).toMatchObject({ keyVersion: 2, rekeyingTo: null });
    expect(await open(cardChallenge, true)).toMatchObject({ at: 'opened' });
    expect(await open(cardChallenge)).toEqual({ at: 'rekey-first', torn: false });
    await expectRekeyed((await rekey()).cardChallenge, 3);
  });
});

describe('a re-keying', () => {
  it('of a card that is up to date, or not ours, is refused', async () => {
    keyStore.current = 1;
    expect(await codeOf(rekeying.openRekey({ cardId: CARD_ID }))).toBe('settlement/session');
    expect(await codeOf(rekeying.openRekey({ cardId: '04000000000000' }))).toBe('card/not-issued');
  });

  it('changes nothing on a card with a key of another version, nor on one that cannot prove itself', async () => {
    for (const [keyNumber, planted, code] of [[2, { version: 9 }, 'card/not-genuine'], [0, { value: new Uint8Array(16).fill(7) }, 'card/not-genuine']] as const) {
      const wallet = walletApplication(issuedImage)!;
      const keys = wallet.keys.map((key, at) => (at === keyNumber ? { ...key, ...planted } : key));
      await layOnReader({ ...issuedImage, applications: [{ ...wallet, keys }] });
      const before = card.memory.image;
      expect(await codeOf(rekey())).toBe(code);
      expect(walletApplication(card.memory.image)?.files).toEqual(walletApplication(before)?.files);
      expect(await store.findCard(CARD_ID)).toMatchObject({ keyVersion: 1, rekeyingTo: null });
    }
  });

  it('does not take a key for proved that was changed by somebody else', async () => {
    const wallet = walletApplication(issuedImage)!;
    await layOnReader({ ...issuedImage, applications: [{ ...wallet, keys: wallet.keys.map((key, at) => (at === 3 ? { ...key, value: new Uint8Array(16).fill(7), version: 2 } : key)) }] });
    expect(await codeOf(rekey())).toBe('card/refused');
    expect(await store.findCard(CARD_ID)).toMatchObject({ keyVersion: 1, rekeyingTo: 2 });
  });

  it('sends nothing that changes the card unless it is remembered', async () => {
    const failing = { ...store, beginRekey: () => Promise.reject(new Error('disk full')) };
    rekeying = createRekeying({ store: failing, keyStore, sessions, random });
    await expect(rekey()).rejects.toThrow('disk full');
    expect(card.memory.image.applications).toEqual(new CardOnReader(issuedImage).memory.image.applications);
  });

  it('ends the card\'s earlier session, is ended by a later one, and takes no answer twice', async () => {
    const reading = await open('00'.repeat(16), true);
    const { sessionId, commands } = await rekeying.openRekey({ cardId: CARD_ID });
    expect(() => sessions.get(reading.at === 'opened' ? reading.sessionId : '')).toThrow(expect.objectContaining({ code: 'settlement/session' }) as Error);
    const responses = encodeResponses(await card.transmit(parseCommands(commands)));
    const [once, again] = [rekeying.continueRekey({ sessionId, responses }), rekeying.continueRekey({ sessionId, responses })];
    expect([await codeOf(once), await codeOf(again)]).toContain('settlement/session');
    const second = await rekeying.openRekey({ cardId: CARD_ID });
    await open('00'.repeat(16), true);
    expect(await codeOf(rekeying.continueRekey({ sessionId: second.sessionId, responses }))).toBe('settlement/session');
    expect(await codeOf(rekeying.continueRekey({ sessionId: crypto.randomUUID(), responses }))).toBe('settlement/session');
    expect(await store.findCard(CARD_ID)).toMatchObject({ keyVersion: 1, rekeyingTo: null });
  });

  it('lets no other session begin while its beginning is being written', async () => {
    let during: string | undefined;
    const slow = {
      ...store,
      beginRekey: async (...[cardId, toVersion]: Parameters<SecurityStore['beginRekey']>) => {
        during = await codeOf(open('00'.repeat(16), true));
        return store.beginRekey(cardId, toVersion);
      },
    };
    rekeying = createRekeying({ store: slow, keyStore, sessions, random });
    await expectRekeyed((await rekey()).cardChallenge);
    expect(during).toBe('settlement/busy');
  });
});
