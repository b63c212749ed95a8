/** The host's side of one session that is always the same: the chip's nonces are fixed, so each command is protected once and then taken from memory. */
import { Aes128, BLOCK_BYTES, truncateMac, ZERO_BLOCK } from './crypto.ts';
import { COMM_MODE, deriveSessionKeys, paddedLength } from './secure-messaging.ts';
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from './secure-messaging.ts';
import type { Random } from './crypto.ts';

/** The chip's random source: RndB and TI of every session. */
export const FIXED_RANDOM: Random = (length) => new Uint8Array(length).fill(0x5b);
const RND_A = new Uint8Array(BLOCK_BYTES).fill(0xa5);
const SESSION_KEY_NO = 0;

/** A command as it is meant: what travels in plain, what may be enciphered, and how. */
interface MeantCommand {
  readonly instruction: number;
  readonly header: readonly number[];
  readonly data: readonly number[];
  readonly mode: CommMode;
}

const { PLAIN, MAC, FULL } = COMM_MODE;
const meant = (instruction: number, header: readonly number[], data: readonly number[], mode: CommMode): MeantCommand => ({ instruction, header, data, mode });
const zeros = (length: number): readonly number[] => new Array<number>(length).fill(0);

/** One of every kind, each accepted by a card whose files key 0 may use in full mode. */
const MEANT: readonly MeantCommand[] = [
  meant(0x60, [], [], MAC),
  meant(0x51, [], [], MAC),
  meant(0x6f, [], [], MAC),
  meant(0x61, [], [], MAC),
  meant(0xf5, [3], [], MAC),
  meant(0x5f, [3], [0x03, 0x30, 0x12], FULL),
  meant(0x64, [1], [], MAC),
  meant(0xc4, [1], [...zeros(17), 0x55, 0xbb, 0xbc, 0xec], FULL),
  meant(0xc4, [0], zeros(17), FULL),
  meant(0x5c, [0x0a], [1, 100, 0, 10, 0], FULL),
  meant(0x5c, [0x09], [3, ...zeros(4), 0xff, 0xff, 0, 0, ...zeros(4), 0], FULL),
  meant(0x6c, [3], [], MAC),
  meant(0x0c, [3], [1, 0, 0, 0], FULL),
  meant(0xdc, [3], [1, 0, 0, 0], FULL),
  meant(0x1c, [3], [1, 0, 0, 0], FULL),
  meant(0xad, [4, ...zeros(6)], [], MAC),
  meant(0x8d, [4, 0, 0, 0, 4, 0, 0], [1, 2, 3, 4], FULL),
  meant(0xab, [1, ...zeros(6)], [], MAC),
  meant(0x8b, [1, 0, 0, 0, 16, 0, 0], zeros(16), FULL),
  meant(0xba, [1, 0, 0, 0, 0, 0, 0, 16, 0, 0], zeros(16), FULL),
  meant(0xeb, [1], [], MAC),
  meant(0xc7, [], [1], MAC),
  meant(0xa7, [], [], MAC),
  meant(0xc8, [], zeros(16), MAC),
  meant(0xdf, [15], [], MAC),
  meant(0xce, [15, 3, 0x10, 0x1f, 2], zeros(17), FULL),
  // The forms in frames of a card with free applications.
  meant(0xbd, [4, ...zeros(6)], [], MAC),
  meant(0x3d, [4, 0, 0, 0, 4, 0, 0], [1, 2, 3, 4], FULL),
  meant(0xbb, [1, ...zeros(6)], [], MAC),
  meant(0x3b, [1, 0, 0, 0, 16, 0, 0], zeros(16), FULL),
  meant(0x71, [0, 0], [], PLAIN),
  meant(0x77, [0], [], PLAIN),
];
export const COMMAND_KINDS = MEANT.length;

/** Applications, files, key settings and the authentication of a blank card. */
const OF_FREE_APPLICATIONS: readonly number[] = [0x1a, 0x45, 0x54, 0x5a, 0x6a, 0x6d, 0x6e, 0xc0, 0xc1, 0xca, 0xcb, 0xcc, 0xcd, 0xda, 0xdb, 0xfc];
/** In rising order, each once. */
export const INSTRUCTIONS: readonly number[] = [...new Set([...MEANT.map(({ instruction }) => instruction), ...OF_FREE_APPLICATIONS])].sort((a, b) => a - b);

/** Commands that change nothing before a commit: they bring a session into deeper states. */
export const HARMLESS: readonly number[] = MEANT.flatMap(({ instruction }, kind) => ([0x6c, 0xdc, 0x0c, 0x8b, 0xba, 0xeb, 0xad, 0xab, 0xbd, 0xbb, 0x3b, 0xc8, 0x60, 0x77].includes(instruction) ? [kind] : []));

export class FuzzSession {
  /** Selection of the application and both passes of the authentication. */
  readonly opening: readonly Bytes[];
  readonly #encKey: Aes128;
  readonly #macKey: Aes128;
  readonly #made = new Map<number, Bytes>();

  private constructor(opening: readonly Bytes[], encKey: Aes128, macKey: Aes128) {
    this.opening = opening;
    this.#encKey = encKey;
    this.#macKey = macKey;
  }

  static async prepare(applicationName: Uint8Array): Promise<FuzzSession> {
    const cardKey = new Aes128(ZERO_BLOCK);
    const rndB = FIXED_RANDOM(BLOCK_BYTES);
    const proof = await cardKey.encryptCbc(ZERO_BLOCK, concatBytes(RND_A, rndB.subarray(1), rndB.subarray(0, 1)));
    const { sesAuthEncKey, sesAuthMacKey } = await deriveSessionKeys(cardKey, RND_A, rndB);
    const select = concatBytes(new Uint8Array([0x00, 0xa4, 0x04, 0x0c, applicationName.length]), applicationName, new Uint8Array([0]));
    return new FuzzSession([select, apdu(0x71, new Uint8Array([SESSION_KEY_NO, 0])), apdu(0xaf, proof)], new Aes128(sesAuthEncKey), new Aes128(sesAuthMacKey));
  }

  /** The command of this kind, right in every byte for this count. */
  async command(kind: number, counter: number): Promise<Bytes> {
    const at = kind * 0x10000 + counter;
    const known = this.#made.get(at);
    if (known !== undefined) return known;
    const made = await this.#make(MEANT[kind] ?? meant(0x60, [], [], MAC), counter);
    this.#made.set(at, made);
    return made;
  }

  async #make({ instruction, header, data, mode }: MeantCommand, counter: number): Promise<Bytes> {
    const [head, plain] = [new Uint8Array(header), new Uint8Array(data)];
    if (mode === PLAIN) return apdu(instruction, concatBytes(head, plain));
    const context = concatBytes(encodeUintLE(counter, 2), FIXED_RANDOM(4));
    const body = mode === FULL && plain.length > 0 ? await this.#enciphered(plain, counter) : plain;
    const mac = truncateMac(await this.#macKey.cmac(concatBytes(new Uint8Array([instruction]), context, head, body)));
    return apdu(instruction, concatBytes(head, body, mac));
  }

  async #enciphered(plain: Bytes, counter: number): Promise<Bytes> {
    const iv = await this.#encKey.encryptBlock(concatBytes(new Uint8Array([0xa5, 0x5a]), FIXED_RANDOM(4), encodeUintLE(counter, 2), new Uint8Array(8)));
    const padded = new Uint8Array(paddedLength(plain.length));
    padded.set(plain);
    padded[plain.length] = 0x80;
    return this.#encKey.encryptCbc(iv, padded);
  }
}

/** A native command in its ISO wrapping. */
export function apdu(instruction: number, payload: Uint8Array): Bytes {
  const length = payload.length === 0 ? [] : [payload.length];
  return concatBytes(new Uint8Array([0x90, instruction, 0, 0, ...length]), payload, new Uint8Array([0]));
}
