/**
 * Secure messaging of EV1 under a DES or triple-DES session key, the card's side: one chain of CBC through every cryptogram and CMAC of the session.
 * Facts: libfreefare and Proxmark3, which agree, and a recorded FormatPICC of a real card (legacy-authentication.test.ts).
 */
import { COMM_MODE } from './secure-messaging.ts';
import { concatBytes, equalBytes } from '#protocol/bytes.ts';
import { crc32 } from './crc32.ts';
import { DES_BLOCK_BYTES, TripleDes, ZERO_DES_BLOCK } from './triple-des.ts';
import { StatusError } from './status.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from './secure-messaging.ts';

const CRC_BYTES = 4;

export class LegacySession {
  readonly keyNo: number;
  readonly #cipher: TripleDes;
  #iv: Bytes = ZERO_DES_BLOCK;

  constructor(keyNo: number, sessionKey: Uint8Array) {
    this.keyNo = keyNo;
    this.#cipher = new TripleDes(sessionKey);
  }

  /** Only what is enciphered grows: by a checksum, and zeros to whole blocks. */
  wireLength(mode: CommMode, dataBytes: number): number {
    return mode === COMM_MODE.FULL && dataBytes > 0 ? Math.ceil((dataBytes + CRC_BYTES) / DES_BLOCK_BYTES) * DES_BLOCK_BYTES : dataBytes;
  }

  /** Deciphers a command, or takes a plain one into the chain; `lengths` bounds the data that it may have. Throws INTEGRITY_ERROR. */
  async openCommand(mode: CommMode, instruction: number, header: Uint8Array, rest: Uint8Array, [min, max]: readonly [number, number]): Promise<Bytes> {
    const begin = concatBytes(new Uint8Array([instruction]), header);
    if (mode !== COMM_MODE.FULL || rest.length === 0) {
      this.#iv = await this.#cipher.cmac(this.#iv, concatBytes(begin, rest));
      return new Uint8Array(rest);
    }
    if (rest.length % DES_BLOCK_BYTES !== 0) throw new StatusError('LENGTH_ERROR');
    const plain = await this.#cipher.decryptCbc(this.#iv, rest);
    this.#iv = rest.slice(-DES_BLOCK_BYTES);
    // Zeros are no mark: the checksum says where the data end. The shortest first: over data and checksum together it is zero, too.
    for (let length = min; length <= max; length++) {
      if (this.wireLength(mode, length) !== plain.length) continue;
      const data = plain.slice(0, length);
      const isWhole = equalBytes(crc32(concatBytes(begin, data)), plain.subarray(length, length + CRC_BYTES));
      if (isWhole && plain.subarray(length + CRC_BYTES).every((byte) => byte === 0)) return data;
    }
    throw new StatusError('INTEGRITY_ERROR');
  }

  /** The answer's data as it leaves the card: every answer has a CMAC, unless it is enciphered. */
  async sealResponse(mode: CommMode, status: number, data: Uint8Array): Promise<Bytes> {
    const checked = concatBytes(data, new Uint8Array([status]));
    if (mode !== COMM_MODE.FULL || data.length === 0) {
      this.#iv = await this.#cipher.cmac(this.#iv, checked);
      return concatBytes(data, this.#iv);
    }
    const padded = new Uint8Array(this.wireLength(mode, data.length));
    padded.set(concatBytes(data, crc32(checked)));
    const enciphered = await this.#cipher.encryptCbc(this.#iv, padded);
    this.#iv = enciphered.slice(-DES_BLOCK_BYTES);
    return enciphered;
  }
}
