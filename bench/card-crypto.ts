/** Which calls of node:crypto some code makes, recorded with everything that they were given, and the same calls made again alone: the least that the code can cost. */
import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';

type Factory = typeof crypto.createCipheriv | typeof crypto.createDecipheriv;

/** One cipher object and what went through it. */
export interface CipherCall {
  readonly direction: 'encipher' | 'decipher';
  readonly algorithm: string;
  readonly key: Uint8Array;
  readonly iv: Uint8Array | null;
  /** Whether padding was switched off. */
  unpadded: boolean;
  /** What each `update` was given. */
  readonly updates: Uint8Array[];
}

/**
 * Every cipher object that `act` makes. It works because the bindings of a built-in module can be replaced for all who import it; they are put
 * back before this returns. `act` is synchronous, so nobody else's calls are among them.
 */
export function recordCipherCalls(act: () => void): CipherCall[] {
  const calls: CipherCall[] = [];
  const original = { createCipheriv: crypto.createCipheriv, createDecipheriv: crypto.createDecipheriv };
  const recording = (direction: CipherCall['direction'], create: Factory): Factory =>
    ((algorithm: string, key: Uint8Array, iv: Uint8Array | null) => {
      const cipher = (create as typeof crypto.createCipheriv)(algorithm, key, iv);
      const call: CipherCall = { direction, algorithm, key: key.slice(), iv: iv?.slice() ?? null, unpadded: false, updates: [] };
      calls.push(call);
      const update = cipher.update.bind(cipher) as (data: Uint8Array) => Buffer;
      cipher.update = ((data: Uint8Array) => {
        call.updates.push(data.slice());
        return update(data);
      }) as typeof cipher.update;
      const setAutoPadding = cipher.setAutoPadding.bind(cipher);
      cipher.setAutoPadding = (isPadded) => {
        call.unpadded = isPadded === false;
        return setAutoPadding(isPadded);
      };
      return cipher;
    }) as Factory;
  Object.assign(crypto, { createCipheriv: recording('encipher', original.createCipheriv), createDecipheriv: recording('decipher', original.createDecipheriv) });
  syncBuiltinESMExports();
  try {
    act();
  } finally {
    Object.assign(crypto, original);
    syncBuiltinESMExports();
  }
  return calls;
}

/** Each call alone, on the same bytes: a cipher object, and what went through it at once; returns the number of bytes that came out, so that nothing can be left out. */
export function replayCipherCalls(calls: readonly CipherCall[]): number {
  let bytes = 0;
  for (const call of calls) for (const data of call.updates) bytes += createCipher(call).update(data).length;
  return bytes;
}

function createCipher({ direction, algorithm, key, iv, unpadded }: CipherCall): crypto.Cipher | crypto.Decipher {
  const cipher = direction === 'encipher' ? crypto.createCipheriv(algorithm, key, iv) : crypto.createDecipheriv(algorithm, key, iv);
  if (unpadded) cipher.setAutoPadding(false);
  return cipher;
}

const BLOCK_BYTES = 16;

export interface CipherTally {
  /** Cipher objects made. */
  readonly objects: number;
  /** What went through them, each in one go: a CMAC, an enciphering or deciphering, an initial vector or the zero block of a CMAC's subkeys. */
  readonly calls: number;
  readonly blocks: number;
}

export function cipherTallyOf(calls: readonly CipherCall[]): CipherTally {
  const updates = calls.flatMap((call) => call.updates);
  return { objects: calls.length, calls: updates.length, blocks: updates.reduce((bytes, data) => bytes + data.length, 0) / BLOCK_BYTES };
}
