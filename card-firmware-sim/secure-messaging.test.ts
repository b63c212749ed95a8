/** The session's refusals that a whole chip shows only after 65535 commands or under a forged but well-keyed ciphertext. */
import { describe, expect, it } from 'vitest';
import { aesCbc, cmac, pad80, truncated } from './testing/host.ts';
import { COMM_MODE, Session } from './secure-messaging.ts';
import { concatBytes, encodeUintLE, parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

const ENC = parseHex('A1'.repeat(16));
const MAC = parseHex('B2'.repeat(16));
const TI = parseHex('01020304');
const HEADER = new Uint8Array([3]);
const DEBIT = 0xdc;

function sessionAt(counter: number): Session {
  return new Session(1, { sesAuthEncKey: ENC, sesAuthMacKey: MAC }, TI, counter);
}

/** Enciphered blocks, MACed for this counter, whatever their padding. */
function sealed(padded: Bytes, counter: number): Bytes {
  const iv = aesCbc(ENC, new Uint8Array(16), concatBytes(parseHex('A55A'), TI, encodeUintLE(counter, 2), new Uint8Array(8)));
  const body = aesCbc(ENC, iv, padded);
  return concatBytes(body, truncated(cmac(MAC, concatBytes(new Uint8Array([DEBIT]), encodeUintLE(counter, 2), TI, HEADER, body))));
}

const open = (session: Session, rest: Bytes): Promise<Bytes> => session.openCommand(COMM_MODE.FULL, DEBIT, HEADER, rest);

describe('a session', () => {
  it.each([0, 1, 15, 16, 17])('opens %i bytes of data', async (length) => {
    const data = new Uint8Array(length).fill(0x80);
    expect(await open(sessionAt(7), sealed(pad80(data), 7))).toEqual(data);
  });

  it('takes its last command at FFFE and none at FFFF, in any mode', async () => {
    const session = sessionAt(0xfffe);
    expect(await open(session, sealed(pad80(HEADER), 0xfffe))).toEqual(HEADER);
    expect(session.commandCounter).toBe(0xffff);
    await expect(open(session, sealed(pad80(HEADER), 0xffff))).rejects.toThrow('INTEGRITY_ERROR');
    await expect(session.openCommand(COMM_MODE.PLAIN, DEBIT, HEADER, HEADER)).rejects.toThrow('INTEGRITY_ERROR');
  });

  it.each([
    ['no mark at all', '00'.repeat(16)],
    ['another mark', `03${'00'.repeat(14)}81`],
    ['a mark before the last block', `80${'00'.repeat(31)}`],
  ])('refuses padding with %s', async (_, padded) => {
    await expect(open(sessionAt(0), sealed(parseHex(padded), 0))).rejects.toThrow('INTEGRITY_ERROR');
  });

  it('refuses each single bit changed, in header, ciphertext, MAC, instruction and counter', async () => {
    const rest = sealed(pad80(HEADER), 0);
    for (let bit = 0; bit < 8 * rest.length; bit++) {
      const changed = rest.map((byte, index) => (index === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte));
      await expect(open(sessionAt(0), changed)).rejects.toThrow('INTEGRITY_ERROR');
    }
    await expect(sessionAt(0).openCommand(COMM_MODE.FULL, DEBIT, new Uint8Array([1]), rest)).rejects.toThrow('INTEGRITY_ERROR');
    await expect(sessionAt(0).openCommand(COMM_MODE.FULL, 0x0c, HEADER, rest)).rejects.toThrow('INTEGRITY_ERROR');
    await expect(open(sessionAt(1), rest)).rejects.toThrow('INTEGRITY_ERROR');
  });

  it('counts nothing that it refused', async () => {
    const session = sessionAt(0);
    await expect(open(session, new Uint8Array(24))).rejects.toThrow('INTEGRITY_ERROR');
    await expect(open(session, new Uint8Array(7))).rejects.toThrow('LENGTH_ERROR');
    expect(session.commandCounter).toBe(0);
  });
});
