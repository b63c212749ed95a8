/** The DES session of a blank card, against a recorded card and against what anyone on the way can make of its answers. */
import { createDecipheriv } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { parseFactoryChallenge, PendingFactoryAuthentication, requestFactoryChallenge } from './factory-master-key.ts';

/** Recorded with a real card (proxmark3, issue 2961, 2025-08-29); the host's nonce is what its answer deciphers to. */
const CHALLENGE = '83B8794092327259';
const HOST_RANDOM = parseHex('0102030405060708');
const ANSWER = 'CC4506665C229B49BBD7B67113A942F3';
const PROOF = '03FB11800B820495';
const CARD_RANDOM = parseHex('99D2F4FF53EF2D54');

const pending = () => new PendingFactoryAuthentication(parseFactoryChallenge(parseHex(`${CHALLENGE}91AF`)), HOST_RANDOM);
const NEW_KEY = parseHex('C0'.repeat(16));

describe('the authentication under the factory key', () => {
  it('is the recorded one, byte for byte', () => {
    expect(encodeHex(requestFactoryChallenge().apdu)).toBe('901A0000010000');
    expect(encodeHex(pending().command.apdu)).toBe(`90AF000010${ANSWER}00`);
    expect(pending().changeMasterKey(parseHex(`${PROOF}9100`), NEW_KEY, 7).expectedStatus).toBe(0x9100);
  });

  it.each([
    ['03FB11800B820494' + '9100', 'card/not-genuine'],
    [PROOF.slice(2) + '9100', 'card/answer'],
    ['91AE', 'card/refused'],
    [PROOF + '91AF', 'card/refused'],
    ['91', 'card/answer'],
  ])('takes no other proof: %s', (answer, code) => {
    expect(() => pending().changeMasterKey(parseHex(answer), NEW_KEY, 7)).toThrow(expect.objectContaining({ code }) as Error);
  });

  it.each([[`${CHALLENGE}9100`, 'card/refused'], [`${CHALLENGE}0091AF`, 'card/answer'], ['91AE', 'card/refused'], ['', 'card/answer']])('takes no other challenge: %s', (answer, code) => {
    expect(() => parseFactoryChallenge(parseHex(answer))).toThrow(expect.objectContaining({ code }) as Error);
  });
});

describe('the change of the master key', () => {
  it('carries key, version and a checksum over the whole command under the DES session key, filled with zeros', () => {
    const { apdu } = pending().changeMasterKey(parseHex(`${PROOF}9100`), NEW_KEY, 7);
    expect(encodeHex(apdu.slice(0, 6))).toBe('90C400001980');
    expect(apdu).toHaveLength(31);
    const sessionKey = concatBytes(HOST_RANDOM.subarray(0, 4), CARD_RANDOM.subarray(0, 4));
    const decipher = createDecipheriv('des-ede3-cbc', concatBytes(sessionKey, sessionKey, sessionKey), new Uint8Array(8)).setAutoPadding(false);
    const plain = concatBytes(decipher.update(apdu.slice(6, 30)), decipher.final());
    const checked = concatBytes(parseHex('C480'), NEW_KEY, parseHex('07'));
    expect(plain).toEqual(concatBytes(NEW_KEY, parseHex('07'), encodeUintLE((crc32(checked) ^ 0xffffffff) >>> 0, 4), new Uint8Array(3)));
  });

  it('takes an AES-128 key only', () => {
    expect(() => pending().changeMasterKey(parseHex(`${PROOF}9100`), new Uint8Array(15), 7)).toThrow(RangeError);
    expect(() => new PendingFactoryAuthentication(new Uint8Array(16), HOST_RANDOM)).toThrow(RangeError);
  });
});
