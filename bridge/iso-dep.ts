/**
 * ISO/IEC 14443-4, the reader's side in software: command APDUs in blocks over a reader that only carries frames.
 * Lost and damaged blocks are recovered as 7.5.4 says; a block's number makes that safe, and no command is ever sent anew.
 */
import { MAX_RESPONSE_BYTES } from '#protocol/apdu.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { FRAME_WAIT_TOLERANCE_MS, MAX_CARD_FRAME_BYTES, MAX_FRAME_WAIT_MS, type Ats } from './iso-dep-ats.ts';

/** What came back for a block: the card's block without CRC, nothing in time, or something that the reader could not read. */
export type BlockAnswer = Bytes | 'timeout' | 'garbled';

export interface IsoDepOptions {
  readonly ats: Ats;
  /** Sends one block (the reader adds the CRC) and waits for one; fails only with the reader's own failures. */
  readonly exchange: (block: Bytes, timeoutMs: number) => Promise<BlockAnswer>;
  /** A clock in milliseconds that never goes back. */
  readonly now: () => number;
}

export interface IsoDep {
  /**
   * One command, one answer of 2 to 258 bytes. Fails with `card/removed` (silent to every recovery), `card/silent` (no answer
   * within `limitMs`, though it asks for more time or answers unreadably), `card/answer` (blocks against the protocol,
   * or an answer that is none), and with what `exchange` fails with. After a failure every further command fails with `card/removed`.
   */
  transceive(command: Bytes, limitMs: number): Promise<Bytes>;
  /** 7.5.5: asks by R(NAK), which a card answers without changing its state. */
  isPresent(): Promise<boolean>;
  /** Sends the card to rest (8.1), whether it answers or not. */
  deselect(): Promise<void>;
}

/** The card has just answered RATS, and no block was sent since: block number 0 (7.5.3, rule A). */
export function createIsoDep(options: IsoDepOptions): IsoDep {
  return new IsoDepCard(options);
}

/** Blocks sent for recovery for each block of ours: two lost ones, or four lost answers, are made good. */
const MAX_RECOVERIES = 4;
/** Requests for more time within one command: a chip whose FWT is the shortest still gets a third of a second. */
const MAX_EXTENSIONS = 1000;
/** A card answers R(NAK) from memory: no need to wait out the FWT of its slowest command. */
const PRESENCE_WAIT_MS = 100;
/** 8.1: 65536 carrier cycles. */
const DESELECT_WAIT_MS = 5 + FRAME_WAIT_TOLERANCE_MS;
const DESELECT_TRIES = 2;

type BlockNumber = 0 | 1;
const informationBlock = (number: BlockNumber, chaining: boolean, data: Uint8Array): Bytes =>
  concatBytes(Uint8Array.of(0x02 | (chaining ? 0x10 : 0) | number), data);
const ackBlock = (number: BlockNumber): Bytes => Uint8Array.of(0xa2 | number);
const nakBlock = (number: BlockNumber): Bytes => Uint8Array.of(0xb2 | number);
const DESELECT: Bytes = Uint8Array.of(0xc2);
const extensionBlock = (multiplier: number): Bytes => Uint8Array.of(0xf2, multiplier);

type Block =
  | { readonly kind: 'information'; readonly number: BlockNumber; readonly chaining: boolean; readonly data: Bytes }
  | { readonly kind: 'ack'; readonly number: BlockNumber }
  | { readonly kind: 'extension'; readonly multiplier: number };

/** A card's block (7.1); 'invalid': bits, length or size that no card may send us, who use neither CID nor NAD. */
export function parseBlock(bytes: Bytes): Block | 'deselect' | 'invalid' {
  const [prologue] = bytes;
  if (prologue === undefined || bytes.length > MAX_CARD_FRAME_BYTES - 2) return 'invalid';
  const number = (prologue & 1) as BlockNumber;
  if ((prologue & 0xee) === 0x02) return { kind: 'information', number, chaining: (prologue & 0x10) !== 0, data: bytes.slice(1) };
  if ((prologue & 0xfe) === 0xa2) return bytes.length === 1 ? { kind: 'ack', number } : 'invalid';
  if (prologue === 0xc2) return bytes.length === 1 ? 'deselect' : 'invalid';
  if (prologue !== 0xf2 || bytes.length !== 2) return 'invalid';
  // 7.3: the two upper bits tell the power level; 0 and 60 to 63 are for future use.
  const multiplier = (bytes[1] ?? 0) & 0x3f;
  return multiplier >= 1 && multiplier <= 59 ? { kind: 'extension', multiplier } : 'invalid';
}

/** One block of ours and what must come back for it. */
interface Turn {
  readonly block: Bytes;
  /** What is sent when the answer does not come or cannot be read: R(NAK), or R(ACK) while the card is chaining (rules 4 and 5). */
  readonly recovery: Bytes;
  readonly expects: 'ack' | 'information';
}

/** What one command may still use; kept over all its blocks. */
interface Allowance {
  readonly deadline: number;
  extensions: number;
  /** The card has sent something in this command: it is there. */
  isHeard: boolean;
}

class IsoDepCard implements IsoDep {
  readonly #exchange: IsoDepOptions['exchange'];
  readonly #now: () => number;
  readonly #frameWaitMs: number;
  readonly #dataBytes: number;
  #number: BlockNumber = 0;
  #isLost = false;

  constructor({ ats, exchange, now }: IsoDepOptions) {
    this.#exchange = exchange;
    this.#now = now;
    this.#frameWaitMs = ats.frameWaitMs;
    // Prologue and CRC take three bytes of a frame.
    this.#dataBytes = ats.frameBytes - 3;
  }

  async transceive(command: Bytes, limitMs: number): Promise<Bytes> {
    if (this.#isLost) throw new Failure('card/removed', { detail: 'lost in an earlier command' });
    try {
      const allowance: Allowance = { deadline: this.#now() + limitMs, extensions: MAX_EXTENSIONS, isHeard: false };
      return await this.#receive(await this.#send(command, allowance), allowance);
    } catch (reason) {
      this.#isLost = true;
      throw reason;
    }
  }

  async isPresent(): Promise<boolean> {
    return !this.#isLost && ((await this.#isAnswering()) || (await this.#isAnswering()));
  }

  async deselect(): Promise<void> {
    this.#isLost = true;
    // 7.5.4.2, rule 8: repeated, or the card is left alone.
    for (let tries = 0; tries < DESELECT_TRIES; tries++) {
      const answer = await this.#exchange(DESELECT, DESELECT_WAIT_MS);
      if (typeof answer !== 'string' && parseBlock(answer) === 'deselect') return;
    }
  }

  /** The command, chained where it is longer than the card's frames (7.5.2); resolves to the first block of the answer. */
  async #send(command: Bytes, allowance: Allowance): Promise<Block> {
    for (let at = 0; ; at += this.#dataBytes) {
      const part = command.subarray(at, at + this.#dataBytes);
      const isLast = at + part.length >= command.length;
      const turn = { block: informationBlock(this.#number, !isLast, part), recovery: nakBlock(this.#number), expects: isLast ? 'information' : 'ack' } as const;
      const answer = await this.#take(turn, allowance);
      if (isLast) return answer;
    }
  }

  /** The answer from its first block on, each chained one acknowledged (rule 2). */
  async #receive(first: Block, allowance: Allowance): Promise<Bytes> {
    const parts: Bytes[] = [];
    let length = 0;
    for (let block = first; block.kind === 'information'; ) {
      parts.push(block.data);
      length += block.data.length;
      // Blocks may be empty: their count is the card's word as much as their length is.
      if (length > MAX_RESPONSE_BYTES || parts.length > MAX_RESPONSE_BYTES) throw new Failure('card/answer', { detail: 'answer longer than any' });
      if (!block.chaining) break;
      const acknowledgement = ackBlock(this.#number);
      block = await this.#take({ block: acknowledgement, recovery: acknowledgement, expects: 'information' }, allowance);
    }
    if (length < 2) throw new Failure('card/answer', { detail: 'answer without a status word' });
    return concatBytes(...parts);
  }

  /** Sends one block and resolves to what the protocol wants for it, after any recovery and any time that the card asks for. */
  async #take({ block, recovery, expects }: Turn, allowance: Allowance): Promise<Block> {
    let outgoing = block;
    let waitMs = this.#frameWaitMs;
    let hasAskedForTime = false;
    for (let recoveries = 0; ; ) {
      const leftMs = allowance.deadline - this.#now();
      if (leftMs <= 0) throw new Failure('card/silent', { detail: 'no time left' });
      const wantedMs = waitMs + FRAME_WAIT_TOLERANCE_MS;
      const answer = await this.#exchange(outgoing, Math.min(wantedMs, leftMs));
      waitMs = this.#frameWaitMs;
      if (typeof answer !== 'string') allowance.isHeard = true;
      // The card still had time (7.2): to call it now would be too early, and its silence would not say that it is gone.
      else if (answer === 'timeout' && wantedMs > leftMs && allowance.isHeard) throw new Failure('card/silent', { detail: 'at work when the time was over' });
      const received = typeof answer === 'string' ? answer : parseBlock(answer);
      if (typeof received !== 'string') {
        if (received.kind === 'extension') {
          outgoing = this.#grant(received.multiplier, allowance);
          waitMs = Math.min(received.multiplier * this.#frameWaitMs, MAX_FRAME_WAIT_MS);
          hasAskedForTime = true;
          continue;
        }
        if (received.kind === expects && received.number === this.#number) {
          this.#number = received.number === 0 ? 1 : 0; // rule B
          return received;
        }
      }
      // Rule 6: asked by R(NAK), the card says that it has not had our block. Never believed of one that it asked more time for:
      // a card does not look at the number of a block that comes in (rule D), so sending it again would carry it out again.
      const isMissed = outgoing === recovery && outgoing !== block && !hasAskedForTime && typeof received !== 'string' && received.kind === 'ack' && received.number !== this.#number;
      if (recoveries++ === MAX_RECOVERIES || this.#now() >= allowance.deadline) throw await this.#giveUp(isMissed ? 'garbled' : received);
      outgoing = isMissed ? block : recovery;
    }
  }

  /** 7.3: more time, as often as the command's own limit allows. */
  #grant(multiplier: number, allowance: Allowance): Bytes {
    if (allowance.extensions-- === 0 || this.#now() >= allowance.deadline) {
      throw new Failure('card/silent', { detail: 'asks for more and more time' });
    }
    return extensionBlock(multiplier);
  }

  /** Why the last recovery did not help. A card that is out of the field is silent to everything. */
  async #giveUp(last: Block | 'deselect' | 'invalid' | 'timeout' | 'garbled'): Promise<Failure> {
    if (last === 'garbled') return new Failure('card/silent', { detail: 'answers unreadably' });
    if (last !== 'timeout') return new Failure('card/answer', { detail: 'blocks against the protocol' });
    return (await this.#isAnswering()) ? new Failure('card/silent', { detail: 'is there, and does not answer' }) : new Failure('card/removed');
  }

  /** One R(NAK): whatever readable block comes back, a card has sent it. */
  async #isAnswering(): Promise<boolean> {
    const answer = await this.#exchange(nakBlock(this.#number), Math.min(this.#frameWaitMs, PRESENCE_WAIT_MS) + FRAME_WAIT_TOLERANCE_MS);
    return typeof answer !== 'string' && parseBlock(answer) !== 'invalid';
  }
}
