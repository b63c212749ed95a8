/** The chip's crypto and messaging against published transcripts; the sources are named in vectors/desfire.json. */
import { describe, expect, it } from 'vitest';
import { Aes128, truncateMac, ZERO_BLOCK } from './crypto.ts';
import { Chip } from './chip.ts';
import { COMM_MODE, deriveSessionKeys, Session } from './secure-messaging.ts';
import { computeTmv, deriveTransactionMacKeys, encipherReaderId } from './transaction-mac.ts';
import { concatBytes, encodeHex, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { createFactoryImage } from './factory-image.ts';
import { changeWallet } from './testing-card.ts';
import { DF_NAME_SELECT } from './testing-host.ts';
import { PROFILES } from './profile.ts';
import { VolatileCardMemory } from './card-memory.ts';
import { withFile, withKey } from './card-image.ts';
import published from './vectors/desfire.json' with { type: 'json' };
import generated from './vectors/desfire-session-generated.json' with { type: 'json' };
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication, CardImage } from './card-image.ts';

type Vector = Record<string, string | number | boolean | null>;

function vectors(kind: string): { id: string; text: (name: string) => string; hex: (name: string) => Bytes; number: (name: string) => number }[] {
  const found = (published.vectors as unknown as Vector[]).filter((vector) => vector['kind'] === kind);
  return found.map((vector) => ({
    id: String(vector['id']),
    text: (name) => String(vector[name]),
    hex: (name) => parseHex(String(vector[name])),
    number: (name) => Number(vector[name]),
  }));
}

function factoryCard(change?: (wallet: CardApplication) => CardApplication, random?: Bytes[]): Chip {
  const factory: CardImage = createFactoryImage({ uid: parseHex('04DE5F1EACC040'), random: () => new Uint8Array() });
  const queue = [...(random ?? [])];
  return new Chip({
    memory: new VolatileCardMemory(change === undefined ? factory : changeWallet(factory, change)),
    random: (length) => {
      const next = queue.shift();
      if (next?.length !== length) throw new Error('not the random bytes that the transcript has here');
      return next;
    },
  });
}

const MODES = { MAC: COMM_MODE.MAC, Full: COMM_MODE.FULL, Plain: COMM_MODE.PLAIN } as const;

it('every vector is of a kind that is tested here', () => {
  const kinds = new Set((published.vectors as unknown as Vector[]).map((vector) => vector['kind']));
  expect([...kinds].sort()).toEqual(
    ['aes-cmac', 'auth-ev2-first', 'enctmri', 'iv-command', 'plain', 'secure-messaging', 'session-keys', 'tmac-session-keys', 'tmv'].sort(),
  );
});

describe('AES', () => {
  it.each(vectors('aes-cmac'))('CMAC equals RFC 4493: $id', async ({ hex, text }) => {
    expect(encodeHex(await new Aes128(hex('key')).cmac(hex('msg')))).toBe(text('mac'));
  });

  it('CBC of whole blocks comes back, and of none is none', async () => {
    const aes = new Aes128(parseHex('2B7E151628AED2A6ABF7158809CF4F3C'));
    // NIST SP 800-38A, F.2.1
    const iv = parseHex('000102030405060708090A0B0C0D0E0F');
    const plain = parseHex('6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E51');
    const enciphered = await aes.encryptCbc(iv, plain);
    expect(encodeHex(enciphered)).toBe('7649ABAC8119B246CEE98E9B12E9197D5086CB9B507219EE95DB113A917678B2');
    expect(await aes.decryptCbc(iv, enciphered)).toEqual(plain);
    expect(await aes.decryptCbc(iv, new Uint8Array())).toEqual(new Uint8Array());
    await expect(aes.encryptCbc(iv, new Uint8Array(15))).rejects.toThrow(RangeError);
  });
});

describe('AuthenticateEV2First', () => {
  it.each(vectors('auth-ev2-first'))('the chip answers $id byte for byte', async ({ hex, text, number }) => {
    const keyNo = number('keyNo');
    const chip = factoryCard((wallet) => withKey(wallet, keyNo, { value: hex('key'), version: 0, failures: 0, failuresInARow: 0 }), [hex('RndB'), hex('TI')]);
    await chip.process(parseHex(DF_NAME_SELECT));
    expect(encodeHex(await chip.process(hex('capdu1')))).toBe(text('rapdu1'));
    expect(encodeHex(await chip.process(hex('capdu2')))).toBe(text('rapdu2'));
  });

  it.each([...vectors('auth-ev2-first'), ...vectors('session-keys')])('session keys of $id', async ({ hex, text }) => {
    const keys = await deriveSessionKeys(new Aes128(hex('key')), hex('RndA'), hex('RndB'));
    expect(encodeHex(keys.sesAuthEncKey)).toBe(text('SesAuthENCKey'));
    expect(encodeHex(keys.sesAuthMacKey)).toBe(text('SesAuthMACKey'));
  });
});

describe('secure messaging', () => {
  it.each(vectors('secure-messaging'))('opens the command and seals the answer of $id', async ({ id, hex, text, number }) => {
    const keys = { sesAuthEncKey: hex('SesAuthENCKey'), sesAuthMacKey: hex('SesAuthMACKey') };
    const session = new Session(0, keys, hex('TI'), number('CmdCtr'));
    const header = hex('cmdHeader');
    const payload = hex('capdu').slice(5, -1);
    const data = await session.openCommand(MODES[text('commMode') as 'MAC'], hex('cmd')[0] ?? 0, header, payload.slice(header.length));
    expect(encodeHex(payload.slice(0, header.length))).toBe(encodeHex(header));
    expect(encodeHex(data)).toBe(text('cmdData'));
    // ChangeKey of the session's own key answers without MAC: that is the command's doing, not the session's.
    if (id === 'an12196-changekey-same') return;
    const sealed = await session.sealResponse(MODES[text('respMode') as 'MAC'], 0, hex('respData'));
    expect(`${encodeHex(sealed)}9100`).toBe(text('rapdu'));
  });

  it.each(vectors('iv-command'))('IV of $id', async ({ hex, text, number }) => {
    const input = concatBytes(parseHex('A55A'), hex('TI'), encodeUintLE(number('CmdCtr'), 2), new Uint8Array(8));
    expect(encodeHex(await new Aes128(hex('SesAuthENCKey')).encryptBlock(input))).toBe(text('iv'));
  });
});

describe('transaction MAC', () => {
  it.each(vectors('tmac-session-keys'))('session keys of $id', async ({ hex, text, number }) => {
    const keys = await deriveTransactionMacKeys(hex('AppTransactionMACKey'), number('committedTMC'), hex('UID'));
    expect(encodeHex(keys.sesTmMacKey)).toBe(text('SesTMMACKey'));
    expect(encodeHex(keys.sesTmEncKey)).toBe(text('SesTMENCKey'));
  });

  it.each(vectors('tmv'))('TMV of $id', async ({ hex, text }) => {
    expect(encodeHex(await computeTmv(hex('SesTMMACKey'), hex('TMI')))).toBe(text('TMV'));
  });

  it.each(vectors('enctmri'))('EncTMRI of $id', async ({ hex, text }) => {
    expect(encodeHex(await encipherReaderId(hex('SesTMENCKey'), hex('TMRIPrev')))).toBe(text('EncTMRI'));
  });

  it('the MAC of the wire takes every second byte', () => {
    expect(encodeHex(truncateMac(Uint8Array.from({ length: 16 }, (_, i) => i)))).toBe('01030507090B0D0F');
    expect(ZERO_BLOCK).toHaveLength(16);
  });
});

describe('plain transcripts', () => {
  // The third frame of GetVersion needs the two before it; its production bytes differ from sample to sample of a card.
  const needsEarlierFrames = 'an12343-getversion-3';

  it.each(vectors('plain').filter(({ id }) => id !== needsEarlierFrames))('a factory card answers $id', async ({ hex, text }) => {
    const chip = factoryCard();
    await chip.process(parseHex(DF_NAME_SELECT));
    expect(encodeHex(await chip.process(hex('capdu')))).toBe(text('rapdu'));
  });

  it('GetVersion answers in three frames', async () => {
    const chip = factoryCard();
    expect(encodeHex(await chip.process(parseHex('9060000000')))).toBe('0408013000130591AF');
    expect(encodeHex(await chip.process(parseHex('90AF000000')))).toBe(`${encodeHex(PROFILES.light.softwareVersion)}91AF`);
    expect(encodeHex(await chip.process(parseHex('90AF000000')))).toBe('04DE5F1EACC040FFFFFFFFFF40179100');
  });
});

describe('a whole payment session', () => {
  it('is answered byte for byte, and its TMC and TMV are those of the transcript', async () => {
    const rights = { read: 3, write: 3, readWrite: 3, change: 0 };
    const prepared = (factory: CardApplication): CardApplication => {
      let wallet = withKey(factory, 3, { value: parseHex(generated.key), version: 1, failures: 0, failuresInARow: 0 });
      for (const file of factory.files) {
        if (file.type === 'value') wallet = withFile(wallet, { ...file, rights, value: 5000 });
        if (file.type === 'cyclic') wallet = withFile(wallet, { ...file, rights });
        if (file.type === 'transaction-mac') wallet = withFile(wallet, { ...file, rights: { ...rights, write: 15 }, appTmKey: parseHex(generated.AppTransactionMACKey), counter: 7 });
      }
      return wallet;
    };
    const chip = factoryCard(prepared, [parseHex(generated.RndB), parseHex(generated.TI)]);
    await chip.process(parseHex(DF_NAME_SELECT));
    for (const { step, capdu, rapdu } of generated.steps) expect(`${step}: ${encodeHex(await chip.process(parseHex(capdu)))}`).toBe(`${step}: ${rapdu}`);
    const keys = await deriveTransactionMacKeys(parseHex(generated.AppTransactionMACKey), generated.TMC, parseHex(generated.UID));
    expect(encodeHex(await computeTmv(keys.sesTmMacKey, parseHex(generated.TMI)))).toBe(generated.TMV);
  });
});
