/** The chip's cryptography and messaging against every published value; whole files only, because the last test asks what the others have read. */
import { describe, expect, it } from 'vitest';
import { Aes128, BLOCK_BYTES, truncateMac, ZERO_BLOCK } from './crypto.ts';
import { COMM_MODE, deriveSessionKeys, Session } from './secure-messaging.ts';
import { computeTmv, deriveSesTmEncKey, deriveSesTmMacKey, encipherReaderId } from './transaction-mac.ts';
import { concatBytes, encodeHex, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { VECTORS, vectorsOf } from './testing/vectors.ts';
import type { Bytes } from '#protocol/bytes.ts';

const MODES = { MAC: COMM_MODE.MAC, Full: COMM_MODE.FULL } as const;

function xor(a: Uint8Array, b: Uint8Array): Bytes {
  return Uint8Array.from(a, (byte, index) => byte ^ (b[index] ?? 0));
}

/** The subkeys that the chip's CMAC really uses, taken out of two of its results: each is what was added to the last block. */
async function subkeysOf(aes: Aes128): Promise<{ readonly K1: Bytes; readonly K2: Bytes }> {
  const lastBlockOf = async (message: Uint8Array): Promise<Bytes> => aes.decryptCbc(ZERO_BLOCK, await aes.cmac(message));
  const whole = Uint8Array.from({ length: BLOCK_BYTES }, (_, index) => index);
  const padded = concatBytes(whole.subarray(0, 9), new Uint8Array([0x80, 0, 0, 0, 0, 0, 0]));
  return { K1: xor(await lastBlockOf(whole), whole), K2: xor(await lastBlockOf(whole.subarray(0, 9)), padded) };
}

/** NXP AN10922, 2.2, for a chip that has no use for it: always 32 bytes, so that a short input does not give a plain CMAC. */
async function diversify(masterKey: Bytes, input: Bytes): Promise<Bytes> {
  const aes = new Aes128(masterKey);
  const { K1, K2 } = await subkeysOf(aes);
  const message = concatBytes(new Uint8Array([0x01]), input);
  const blocks = new Uint8Array(2 * BLOCK_BYTES);
  blocks.set(message);
  const isWhole = message.length === blocks.length;
  if (!isWhole) blocks[message.length] = 0x80;
  blocks.set(xor(blocks.subarray(BLOCK_BYTES), isWhole ? K1 : K2), BLOCK_BYTES);
  return (await aes.encryptCbc(ZERO_BLOCK, blocks)).slice(BLOCK_BYTES);
}

describe('AES', () => {
  it.each(vectorsOf('aes-cmac'))('CMAC equals RFC 4493: %s', async (vector) => {
    expect(encodeHex(await new Aes128(vector.hex('key')).cmac(vector.hex('msg')))).toBe(vector.text('mac'));
  });

  it.each(vectorsOf('cmac-subkeys'))('CMAC uses the subkeys of %s', async (vector) => {
    const aes = new Aes128(vector.hex('key'));
    expect(encodeHex(await aes.encryptBlock(ZERO_BLOCK))).toBe(vector.text('encipheredZero'));
    const { K1, K2 } = await subkeysOf(aes);
    expect([encodeHex(K1), encodeHex(K2)]).toEqual([vector.text('K1'), vector.text('K2')]);
  });

  it.each(vectorsOf('an10922-aes128'))('diversified key of %s', async (vector) => {
    const masterKey = vector.hex('masterKey');
    const input = vector.hex('divInput');
    expect(encodeHex(await diversify(masterKey, input))).toBe(vector.text('divKey'));
    // What fits in one block and its padding is where a plain CMAC would differ.
    if (input.length < BLOCK_BYTES) expect(encodeHex(await new Aes128(masterKey).cmac(concatBytes(new Uint8Array([0x01]), input)))).not.toBe(vector.text('divKey'));
    if (!vector.has('K1')) return;
    const { K1, K2 } = await subkeysOf(new Aes128(masterKey));
    expect([encodeHex(K1), encodeHex(K2)]).toEqual([vector.text('K1'), vector.text('K2')]);
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

describe('session keys', () => {
  it.each(vectorsOf('auth-ev2-first', 'session-keys'))('of %s', async (vector) => {
    const keys = await deriveSessionKeys(new Aes128(vector.hex('key')), vector.hex('RndA'), vector.hex('RndB'));
    expect(encodeHex(keys.sesAuthEncKey)).toBe(vector.text('SesAuthENCKey'));
    expect(encodeHex(keys.sesAuthMacKey)).toBe(vector.text('SesAuthMACKey'));
  });

  it.each(vectorsOf('auth-ev2-first'))('the passes of %s hold what they should', async (vector) => {
    const aes = new Aes128(vector.hex('key'));
    const opened = async (field: string, from: number, to: number): Promise<string> => encodeHex(await aes.decryptCbc(ZERO_BLOCK, vector.hex(field).slice(from, to)));
    const rotated = (field: string): string => vector.text(field).slice(2) + vector.text(field).slice(0, 2);
    expect(vector.text('capdu1')).toBe(`9071000002${encodeHex(new Uint8Array([vector.number('keyNo')]))}0000`);
    expect(await opened('rapdu1', 0, -2)).toBe(vector.text('RndB'));
    expect(await opened('capdu2', 5, -1)).toBe(vector.text('RndA') + rotated('RndB'));
    expect(await opened('rapdu2', 0, -2)).toBe(vector.text('TI') + rotated('RndA') + vector.text('PDcap2') + vector.text('PCDcap2'));
  });
});

describe('secure messaging', () => {
  it.each(vectorsOf('secure-messaging'))('opens the command and seals the answer of %s', async (vector) => {
    const keys = { sesAuthEncKey: vector.hex('SesAuthENCKey'), sesAuthMacKey: vector.hex('SesAuthMACKey') };
    const session = new Session(0, keys, vector.hex('TI'), vector.number('CmdCtr'));
    const header = vector.hex('cmdHeader');
    const payload = vector.hex('capdu').slice(5, -1);
    const data = await session.openCommand(MODES[vector.text('commMode') as 'MAC'], vector.hex('cmd')[0] ?? 0, header, payload.slice(header.length));
    expect(encodeHex(payload.slice(0, header.length))).toBe(encodeHex(header));
    expect(encodeHex(data)).toBe(vector.text('cmdData'));
    const sealed = await session.sealResponse(MODES[vector.text('respMode') as 'MAC'], 0, vector.hex('respData'));
    // ChangeKey of the session's own key answers without MAC: that is the command's doing, not the session's.
    const expected = vector.id === 'an12196-changekey-same' ? '' : encodeHex(sealed);
    expect(`${expected}9100`).toBe(vector.text('rapdu'));
  });

  it.each(vectorsOf('secure-messaging'))('refuses %s with any bit changed', async (vector) => {
    const keys = { sesAuthEncKey: vector.hex('SesAuthENCKey'), sesAuthMacKey: vector.hex('SesAuthMACKey') };
    const headerBytes = vector.hex('cmdHeader').length;
    const payload = vector.hex('capdu').slice(5, -1);
    for (let bit = 0; bit < 8 * payload.length; bit++) {
      const changed = payload.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      const session = new Session(0, keys, vector.hex('TI'), vector.number('CmdCtr'));
      const opened = session.openCommand(MODES[vector.text('commMode') as 'MAC'], vector.hex('cmd')[0] ?? 0, changed.slice(0, headerBytes), changed.slice(headerBytes));
      await expect(opened).rejects.toThrow('INTEGRITY_ERROR');
    }
  });

  it.each(vectorsOf('iv-command'))('IV of %s', async (vector) => {
    const input = concatBytes(parseHex('A55A'), vector.hex('TI'), encodeUintLE(vector.number('CmdCtr'), 2), new Uint8Array(8));
    expect(encodeHex(await new Aes128(vector.hex('SesAuthENCKey')).encryptBlock(input))).toBe(vector.text('iv'));
  });
});

describe('transaction MAC', () => {
  it.each(vectorsOf('tmac-session-keys'))('session keys of %s', async (vector) => {
    const of = [vector.hex('AppTransactionMACKey'), vector.number('committedTMC'), vector.hex('UID')] as const;
    expect(encodeHex(await deriveSesTmMacKey(...of))).toBe(vector.text('SesTMMACKey'));
    expect(encodeHex(await deriveSesTmEncKey(...of))).toBe(vector.text('SesTMENCKey'));
  });

  it.each(vectorsOf('tmv'))('TMV of %s', async (vector) => {
    expect(encodeHex(await computeTmv(vector.hex('SesTMMACKey'), vector.hex('TMI')))).toBe(vector.text('TMV'));
  });

  it.each(vectorsOf('enctmri'))('EncTMRI of %s', async (vector) => {
    expect(encodeHex(await encipherReaderId(vector.hex('SesTMENCKey'), vector.hex('TMRIPrev')))).toBe(vector.text('EncTMRI'));
  });

  it('the MAC of the wire takes every second byte', () => {
    expect(encodeHex(truncateMac(Uint8Array.from({ length: 16 }, (_, i) => i)))).toBe('01030507090B0D0F');
    expect(ZERO_BLOCK).toHaveLength(16);
  });
});

it('nothing of any entry is left unread; plain transcripts are replayed in vectors-replayed.test.ts', () => {
  expect(VECTORS.filter(({ kind }) => kind !== 'plain').flatMap(({ unread }) => unread)).toEqual([]);
  expect(VECTORS.length).toBeGreaterThan(0);
});
