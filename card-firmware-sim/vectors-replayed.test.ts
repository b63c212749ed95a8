/** Every published transcript against a whole chip: the same commands in, the same answers out, byte for byte. */
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { changeFile, changeWallet, factoryImage, NONE, ZERO_KEY } from './testing/card.ts';
import { Chip } from './chip.ts';
import { computeTmv, deriveSesTmEncKey, deriveSesTmMacKey } from './transaction-mac.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { DF_NAME_SELECT, TestingHost } from './testing/host.ts';
import { PROFILES } from './profile.ts';
import { VECTORS, vectorsOf } from './testing/vectors.ts';
import { VolatileCardMemory } from './card-memory.ts';
import { withKey } from './card-image.ts';
import generated from './vectors/desfire-session-generated.json' with { type: 'json' };
import type { Bytes } from '#protocol/bytes.ts';
import type { CardImage } from './card-image.ts';
import type { Vector } from './testing/vectors.ts';

/** Where a transcript shows a session but not how it was opened, the chip's session gets the published keys; how they are derived is checked by itself. */
const published = vi.hoisted((): { keys: { sesAuthEncKey: Bytes; sesAuthMacKey: Bytes } | undefined } => ({ keys: undefined }));
vi.mock('./secure-messaging.ts', async (importOriginal) => {
  const original = await importOriginal<typeof import('./secure-messaging.ts')>();
  const deriveSessionKeys: typeof original.deriveSessionKeys = async (...input) => published.keys ?? original.deriveSessionKeys(...input);
  return { ...original, deriveSessionKeys };
});

beforeEach(() => {
  published.keys = undefined;
});

const UID = parseHex('04DE5F1EACC040');

type ImageChange = (image: CardImage) => CardImage;

/** A selected card whose random bytes are those of the transcript, in order. */
async function cardWith(change: ImageChange, random: readonly Bytes[]): Promise<Chip> {
  const queue = [...random];
  const chip = new Chip({
    memory: new VolatileCardMemory({ ...change(factoryImage()), uid: UID }),
    random: (length) => {
      const next = queue.shift();
      if (next?.length !== length) throw new Error('not the random bytes that the transcript has here');
      return next;
    },
  });
  await chip.process(parseHex(DF_NAME_SELECT));
  return chip;
}

const withKeyValue = (keyNo: number, value: Bytes): ImageChange => (image) => changeWallet(image, (wallet) => withKey(wallet, keyNo, { ...wallet.keys[keyNo]!, value }));

const ask = async (chip: Chip, capdu: Bytes): Promise<string> => encodeHex(await chip.process(capdu));

/** Opens the session of a published authentication, checking both passes. */
async function authenticated(auth: Vector, change: ImageChange = (image) => image): Promise<Chip> {
  const chip = await cardWith((image) => withKeyValue(auth.number('keyNo'), auth.hex('key'))(change(image)), [auth.hex('RndB'), auth.hex('TI')]);
  expect(await ask(chip, auth.hex('capdu1'))).toBe(auth.text('rapdu1'));
  expect(await ask(chip, auth.hex('capdu2'))).toBe(auth.text('rapdu2'));
  return chip;
}

describe('AuthenticateEV2First', () => {
  it.each(vectorsOf('auth-ev2-first'))('the chip answers %s', async (vector) => {
    await authenticated(vector);
  });
});

/** What a transcript needs of the card that it does not show, and under which key it was made. */
interface Setting {
  readonly keyNo: number;
  readonly change?: ImageChange;
  /** Commands that the transcript leaves out; each counts one. Default: GetKeyVersion. */
  readonly between?: 'commit';
}

const rightsOf = (key: number) => ({ read: key, write: key, readWrite: key, change: 0 });
const fileZero = (mode: 1 | 3): ImageChange => (image) => changeWallet(image, (wallet) => ({ ...wallet, files: wallet.files.map((file) => (file.number === 0 ? { ...file, mode, rights: rightsOf(0) } : file)) }));
const noReaderId: ImageChange = (image) => changeFile(image, 'transaction-mac', { rights: { read: 1, write: 15, readWrite: 15, change: 0 } });

/** By the first entry of each session. */
const SETTINGS: Readonly<Record<string, Setting>> = {
  'an12343-t5-setconfig-value': { keyNo: 0 },
  'an12343-t6-setconfig-ats': { keyNo: 0 },
  'an12343-t11-changefilesettings': { keyNo: 0 },
  'an12343-t23-writedata-mac': { keyNo: 0, change: fileZero(1) },
  'an12343-t25-writedata-full': { keyNo: 0, change: fileZero(3) },
  'an12343-t33-readrecords-full': { keyNo: 1, change: (image) => changeFile(image, 'cyclic', { records: [parseHex('11223344556677889900112233445566')] }) },
  'an12343-t35-getvalue-full': { keyNo: 3, change: noReaderId, between: 'commit' },
  'an12196-changekey-same': { keyNo: 0 },
};

/** Transcripts of what this chip does not have, and what it answers instead: the command is understood all the same. */
const REFUSED: Readonly<Record<string, string>> = {
  // Secure dynamic messaging of a NTAG 424 DNA, on a file 02 that only a NTAG has.
  'an12196-changefilesettings-full': '91F0',
  // The ATS belongs to whoever carries the chip: it cannot be configured here.
  'an12343-t6-setconfig-ats': '919E',
};

/** The session that a command belongs to, by its keys and transaction identifier. */
const sessionOf = (vector: Vector): string => vector.text('TI') + vector.text('SesAuthENCKey');
const messaging = vectorsOf('secure-messaging');
const sessions = [...new Set(messaging.map(sessionOf))].map((name) => messaging.filter((vector) => sessionOf(vector) === name).sort((a, b) => a.number('CmdCtr') - b.number('CmdCtr')));
const authenticationOf = (vector: Vector): Vector | undefined => vectorsOf('auth-ev2-first').find((auth) => sessionOf(auth) === sessionOf(vector));
const replayed = new Set<string>();

async function expectAnswer(chip: Chip, vector: Vector): Promise<void> {
  expect(await ask(chip, vector.hex('capdu'))).toBe(REFUSED[vector.id] ?? vector.text('rapdu'));
  replayed.add(vector.id);
}

async function withPublishedKeys(first: Vector, { keyNo, change = (image) => image }: Setting): Promise<{ chip: Chip; host: TestingHost }> {
  const chip = await cardWith(change, [new Uint8Array(16), first.hex('TI')]);
  const host = new TestingHost(chip);
  published.keys = { sesAuthEncKey: first.hex('SesAuthENCKey'), sesAuthMacKey: first.hex('SesAuthMACKey') };
  expect(await host.authenticate(keyNo, ZERO_KEY)).toBe(0x9100);
  host.session = { ti: first.hex('TI'), counter: 0, enc: first.hex('SesAuthENCKey'), mac: first.hex('SesAuthMACKey') };
  return { chip, host };
}

/** A command that the transcript does not show, so that the counters meet it where it goes on. */
async function passOne(host: TestingHost, between: Setting['between']): Promise<void> {
  const answer = between === 'commit' ? await host.send(0xc7, [], NONE, 'mac', 'mac') : await host.send(0x64, [0], NONE, 'mac', 'mac');
  expect(answer.status).toBe(0x9100);
}

describe('secure messaging', () => {
  const opened = sessions.filter(([first]) => authenticationOf(first!) !== undefined);
  const continued = sessions.filter(([first]) => authenticationOf(first!) === undefined);

  it.each(opened.map((vectors) => [vectors.join(', '), vectors] as const))('%s, after its own authentication', async (_ids, vectors) => {
    const auth = authenticationOf(vectors[0]!)!;
    const chip = await authenticated(auth);
    const host = new TestingHost(chip);
    host.session = { ti: auth.hex('TI'), counter: 0, enc: auth.hex('SesAuthENCKey'), mac: auth.hex('SesAuthMACKey') };
    for (const vector of vectors) {
      while (host.session.counter < vector.number('CmdCtr')) await passOne(host, undefined);
      await expectAnswer(chip, vector);
      host.session.counter++;
    }
  });

  it.each(continued.map((vectors) => [vectors.join(', '), vectors] as const))('%s, in a session with the published keys', async (_ids, vectors) => {
    const setting = SETTINGS[vectors[0]!.id] ?? expect.fail(`no setting for ${vectors[0]!.id}`);
    const { chip, host } = await withPublishedKeys(vectors[0]!, setting);
    for (const vector of vectors) {
      while (host.session!.counter < vector.number('CmdCtr')) await passOne(host, setting.between);
      await expectAnswer(chip, vector);
      host.session!.counter++;
    }
  });

  it('every transcript was replayed', () => {
    expect([...replayed].sort()).toEqual(messaging.map(({ id }) => id).sort());
  });
});

describe('plain transcripts', () => {
  // The third frame of GetVersion needs the two before it.
  const needsEarlierFrames = 'an12343-getversion-3';

  it.each(vectorsOf('plain').filter(({ id }) => id !== needsEarlierFrames))('a factory card answers %s', async (vector) => {
    const chip = await cardWith((image) => image, []);
    expect(await ask(chip, vector.hex('capdu'))).toBe(vector.text('rapdu'));
  });

  it('GetVersion answers in three frames', async () => {
    const [first, third] = ['an12343-getversion-1', needsEarlierFrames].map((id) => VECTORS.find((vector) => vector.id === id)!);
    const chip = await cardWith((image) => image, []);
    expect(await ask(chip, first!.hex('capdu'))).toBe(first!.text('rapdu'));
    expect(await ask(chip, parseHex('90AF000000'))).toBe(`${encodeHex(PROFILES.light.softwareVersion)}91AF`);
    expect(await ask(chip, third!.hex('capdu'))).toBe(third!.text('rapdu'));
  });
});

describe('a whole payment session', () => {
  it('is answered byte for byte, and its TMC and TMV are those of the transcript', async () => {
    const rights = rightsOf(3);
    const prepared: ImageChange = (factory) => {
      const withMoney = changeFile(withKeyValue(3, parseHex(generated.key))(factory), 'value', { rights, value: 5000 });
      const macFile = { rights: { ...rights, write: 15 }, appTmKey: parseHex(generated.AppTransactionMACKey), counter: generated.TMC - 1 };
      return changeFile(changeFile(withMoney, 'cyclic', { rights }), 'transaction-mac', macFile);
    };
    expect(generated.UID).toBe(encodeHex(UID));
    const chip = await cardWith(prepared, [parseHex(generated.RndB), parseHex(generated.TI)]);
    for (const { step, capdu, rapdu } of generated.steps) expect(`${step}: ${await ask(chip, parseHex(capdu))}`).toBe(`${step}: ${rapdu}`);
    const of = [parseHex(generated.AppTransactionMACKey), generated.TMC, UID] as const;
    const [sesTmMacKey, sesTmEncKey] = await Promise.all([deriveSesTmMacKey(...of), deriveSesTmEncKey(...of)]);
    expect([sesTmMacKey, sesTmEncKey].map(encodeHex)).toEqual([generated.SesTMMACKey, generated.SesTMENCKey]);
    expect(encodeHex(await computeTmv(sesTmMacKey, parseHex(generated.TMI)))).toBe(generated.TMV);
    const commit = generated.steps.at(-1)?.rapdu ?? '';
    expect(commit.slice(0, 24)).toBe(encodeHex(concatBytes(new Uint8Array([generated.TMC, 0, 0, 0]), parseHex(generated.TMV))));
  });
});

it('nothing of any plain transcript is left unread', () => {
  expect(vectorsOf('plain').flatMap(({ unread }) => unread)).toEqual([]);
});
