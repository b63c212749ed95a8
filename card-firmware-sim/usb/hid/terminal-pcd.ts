/** What a terminal's firmware does with its field: finds one card, activates it and exchanges APDUs by ISO/IEC 14443-4; a command is never given to a card twice. */
import { setTimeout as delay } from 'node:timers/promises';
import { concatBytes } from '#protocol/bytes.ts';
import { shortFrame, wholeFrame } from '../air-frame.ts';
import { exchangeWithCrc } from '../field.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CheckedAnswer, ContactlessField } from '../field.ts';

export interface FoundCard {
  readonly kind: 'card';
  readonly uid: Bytes;
  readonly sak: number;
  /** Of a card of ISO/IEC 14443-4, which is active then. */
  readonly ats: Bytes | undefined;
}
export type Found = { readonly kind: 'none' } | { readonly kind: 'several' } | FoundCard;
/** 'gone': nothing lies there any more, or the field went off; 'mute': something does, but it says nothing, or nonsense. */
export type Lost = 'gone' | 'mute';

export interface TerminalPcdOptions {
  /** How long S(WTX) may keep one command waiting in all. */
  readonly commandLimitMs?: number;
  /** Default: the system's clock. */
  readonly wait?: (ms: number) => Promise<void>;
}

interface ActiveCard {
  readonly uid: Bytes;
  /** Most bytes of INF in a block to the card. */
  readonly infBytes: number;
  readonly waitingMs: number;
  blockNumber: 0 | 1;
}

const REQA = 0x26;
const SELECT_CODES = [0x93, 0x95, 0x97] as const;
const CASCADE_TAG = 0x88;
/** FSDI 8, 256 bytes; CID 0 (ISO/IEC 14443-4, 5.1). */
const RATS = new Uint8Array([0xe0, 0x80]);
const SAK = { CASCADE: 0x04, ISO_DEP: 0x20 } as const;
const FRAME_BYTES = [16, 24, 32, 40, 48, 64, 96, 128, 256] as const;
const PROLOGUE_AND_CRC_BYTES = 3;
/** REQA, anticollision and selection answer in well under a millisecond; a card that does not is not there. */
const SELECT_TIMEOUT_MS = 5;
const RATS_TIMEOUT_MS = 30;
/** Delta of FWT, and what the firmware itself needs. */
const SLACK_MS = 50;
/** The field is off so long at least, that every card forgets (ISO/IEC 14443-3 asks for 5). */
const OFF_MS = 6;
const MAX_REPEATS = 2;
const MAX_SILENCE_MS = 5_000;
const MAX_WTX_MS = 4_950;
const COMMAND_LIMIT_MS = 10_000;
const MAX_ANSWER_BYTES = 4096;

export class TerminalPcd {
  readonly #field: ContactlessField;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #commandLimitMs: number;
  #active: ActiveCard | undefined;
  #offAt = 0;
  #order = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(field: ContactlessField, { commandLimitMs = COMMAND_LIMIT_MS, wait = (ms) => delay(ms) }: TerminalPcdOptions = {}) {
    this.#field = field;
    this.#commandLimitMs = commandLimitMs;
    this.#wait = wait;
  }

  get activeUid(): Bytes | undefined {
    return this.#active?.uid;
  }

  /** Called when it is worth looking: real firmware looks ten times a second, and finds something only after such a moment. */
  onStir(listener: () => void): () => void {
    return this.#field.onChange(listener);
  }

  /** Looks once, with a fresh field: a card of ISO/IEC 14443-4 is active afterwards. */
  find(): Promise<Found> {
    const order = this.#order;
    return this.#inTurn(async () => {
      if (order !== this.#order) return { kind: 'none' };
      this.#turnOff();
      await this.#turnOn();
      const found = await this.#select(order);
      if (this.#active === undefined) this.#turnOff();
      return found;
    });
  }

  /** One command to the active card. */
  exchange(command: Bytes): Promise<Bytes | Lost> {
    return this.#inTurn(async () => {
      const card = this.#active;
      if (card === undefined) return 'gone';
      const answer = await new BlockExchange(card, (block, ms) => this.#frame(card, block, ms), this.#commandLimitMs).run(command);
      if (answer !== undefined) return answer;
      return this.#active === card ? await this.#whatBecameOfIt() : 'gone';
    });
  }

  /** R(NAK) to the active card, whose state it leaves as it is (7.5.5.3); false deactivates. */
  isPresent(): Promise<boolean> {
    return this.#inTurn(async () => {
      const card = this.#active;
      if (card === undefined) return false;
      for (let attempt = 0; attempt <= MAX_REPEATS; attempt++) {
        const { kind } = await this.#frame(card, new Uint8Array([0xb2 | card.blockNumber]), card.waitingMs);
        if (kind === 'answer') return true;
      }
      if (this.#active === card) this.#turnOff();
      return false;
    });
  }

  /** The field goes off at once, whatever is under way; what was ordered before finds nothing. */
  off(): void {
    this.#order++;
    this.#turnOff();
  }

  #turnOff(): void {
    this.#active = undefined;
    if (!this.#field.isOn) return;
    this.#field.turnOff();
    this.#offAt = performance.now();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work);
    this.#tail = turn.catch(() => undefined); // the caller hears of it; the next one has its turn
    return turn;
  }

  async #turnOn(): Promise<void> {
    const restMs = this.#offAt === 0 ? 0 : this.#offAt + OFF_MS - performance.now();
    if (restMs > 0) await this.#wait(restMs);
    this.#field.turnOn();
  }

  #frame(card: ActiveCard, block: Bytes, timeoutMs: number): Promise<CheckedAnswer> {
    return this.#active === card ? exchangeWithCrc(this.#field, block, timeoutMs) : Promise.resolve({ kind: 'silence' });
  }

  /** After a card fell silent: only a fresh field tells whether anything lies there. */
  async #whatBecameOfIt(): Promise<Lost> {
    this.#turnOff();
    await this.#turnOn();
    const { kind } = await this.#field.exchange(shortFrame(REQA), SELECT_TIMEOUT_MS);
    this.#turnOff();
    return kind === 'silence' ? 'gone' : 'mute';
  }

  async #select(order: number): Promise<Found> {
    const atqa = await this.#field.exchange(shortFrame(REQA), SELECT_TIMEOUT_MS);
    if (atqa.kind !== 'frame') return { kind: atqa.kind === 'silence' ? 'none' : 'several' };
    let uid: Bytes = new Uint8Array();
    for (const code of SELECT_CODES) {
      const part = await this.#field.exchange(wholeFrame(new Uint8Array([code, 0x20])), SELECT_TIMEOUT_MS);
      if (part.kind !== 'frame') return { kind: part.kind === 'silence' ? 'none' : 'several' };
      const { bytes } = part.frame;
      if (bytes.length !== 5 || bytes.reduce((sum, byte) => sum ^ byte, 0) !== 0) return { kind: 'none' };
      const selected = await exchangeWithCrc(this.#field, concatBytes(new Uint8Array([code, 0x70]), bytes), SELECT_TIMEOUT_MS);
      if (selected.kind !== 'answer') return { kind: selected.kind === 'collision' ? 'several' : 'none' };
      const sak = selected.bytes[0] ?? 0;
      if ((sak & SAK.CASCADE) === 0) return this.#activate(concatBytes(uid, bytes.subarray(0, 4)), sak, order);
      if (bytes[0] !== CASCADE_TAG) return { kind: 'none' };
      uid = concatBytes(uid, bytes.subarray(1, 4));
    }
    return { kind: 'none' };
  }

  async #activate(uid: Bytes, sak: number, order: number): Promise<Found> {
    if ((sak & SAK.ISO_DEP) === 0) return { kind: 'card', uid, sak, ats: undefined };
    const answer = await exchangeWithCrc(this.#field, RATS, RATS_TIMEOUT_MS);
    if (answer.kind !== 'answer' || answer.bytes[0] !== answer.bytes.length) return { kind: 'none' };
    const ats = answer.bytes;
    const { fsci, fwi, sfgi } = parseAts(ats);
    if (sfgi > 0) await this.#wait(units(sfgi));
    if (order !== this.#order) return { kind: 'none' };
    this.#active = { uid, infBytes: (FRAME_BYTES[fsci] ?? 256) - PROLOGUE_AND_CRC_BYTES, waitingMs: units(fwi) + SLACK_MS, blockNumber: 0 };
    return { kind: 'card', uid, sak, ats };
  }
}

/** 4096 / 13.56 MHz, twice as long for each step. */
function units(exponent: number): number {
  return (4096 / 13_560) * 2 ** exponent;
}

/** Each interface byte is there only if its bit of T0 says so (5.2.2); defaults by 5.2. */
function parseAts(ats: Bytes): { fsci: number; fwi: number; sfgi: number } {
  const [, t0] = ats;
  if (t0 === undefined) return { fsci: 2, fwi: 4, sfgi: 0 };
  const tb = (t0 & 0x20) === 0 ? undefined : ats[(t0 & 0x10) === 0 ? 2 : 3];
  const fwi = tb === undefined ? 4 : tb >> 4;
  const sfgi = tb === undefined ? 0 : tb & 0x0f;
  // 15 is reserved and counts as the default.
  return { fsci: t0 & 0x0f, fwi: fwi === 15 ? 4 : fwi, sfgi: sfgi === 15 ? 0 : sfgi };
}

type Send = (block: Bytes, timeoutMs: number) => Promise<CheckedAnswer>;

/** One command and its answer in blocks (7.5.4). */
class BlockExchange {
  readonly #card: ActiveCard;
  readonly #send: Send;
  readonly #limitAt: number;
  #signOfLifeAt = performance.now();

  constructor(card: ActiveCard, send: Send, limitMs: number) {
    this.#card = card;
    this.#send = send;
    this.#limitAt = performance.now() + limitMs;
  }

  /** The answer; undefined once the card cannot be understood any more. */
  async run(command: Bytes): Promise<Bytes | undefined> {
    const { infBytes } = this.#card;
    let at = 0;
    for (; command.length - at > infBytes; at += infBytes) {
      const block = concatBytes(new Uint8Array([0x12 | this.#card.blockNumber]), command.subarray(at, at + infBytes));
      const reply = await this.#deliver(block, 'acknowledgement');
      if (reply === undefined) return undefined;
      this.#toggle();
    }
    const last = concatBytes(new Uint8Array([0x02 | this.#card.blockNumber]), command.subarray(at));
    return this.#collect(await this.#deliver(last, 'information'));
  }

  async #collect(first: Bytes | undefined): Promise<Bytes | undefined> {
    const parts: Bytes[] = [];
    let length = 0;
    for (let block = first; block !== undefined; ) {
      this.#toggle();
      parts.push(block.slice(1));
      length += block.length - 1;
      if (length > MAX_ANSWER_BYTES) return undefined;
      if (((block[0] ?? 0) & 0x10) === 0) return concatBytes(...parts);
      block = await this.#deliver(new Uint8Array([0xa2 | this.#card.blockNumber]), 'information');
    }
    return undefined;
  }

  #toggle(): void {
    this.#card.blockNumber = this.#card.blockNumber === 0 ? 1 : 0;
  }

  /** Sends a block until the card's next one is understood: `wanted` tells which kind that is. */
  async #deliver(block: Bytes, wanted: 'acknowledgement' | 'information'): Promise<Bytes | undefined> {
    const isOurAck = ((block[0] ?? 0) & 0xf6) === 0xa2;
    let next = block;
    let timeoutMs = this.#card.waitingMs;
    for (let repeats = 0; repeats <= MAX_REPEATS; ) {
      const patienceMs = Math.min(timeoutMs, this.#signOfLifeAt + MAX_SILENCE_MS - performance.now());
      if (patienceMs <= 0 || performance.now() > this.#limitAt) return undefined;
      const reply = await this.#send(next, patienceMs);
      timeoutMs = this.#card.waitingMs;
      if (reply.kind === 'answer') this.#signOfLifeAt = performance.now();
      const meaning = reply.kind === 'answer' ? this.#understand(reply.bytes) : 'nothing';
      if (typeof meaning === 'object') {
        next = new Uint8Array([0xf2, meaning.wtxm]);
        // Each extension is asked for anew; the limit of the command is what ends a storm.
        timeoutMs = Math.min(meaning.wtxm * this.#card.waitingMs, MAX_WTX_MS);
        continue;
      }
      if (reply.kind === 'answer' && meaning === wanted) return reply.bytes;
      repeats++;
      // Rule 6: the card has not heard the last I-block. Rule 4, 5: ask it to say its block again.
      const hasNotHeard = meaning === 'other-acknowledgement' && !isOurAck;
      next = hasNotHeard || isOurAck ? block : new Uint8Array([0xb2 | this.#card.blockNumber]);
    }
    return undefined;
  }

  #understand(block: Bytes): 'acknowledgement' | 'other-acknowledgement' | 'information' | 'nothing' | { readonly wtxm: number } {
    const [pcb = 0, parameter = 0] = block;
    const isOurNumber = (pcb & 1) === this.#card.blockNumber;
    if ((pcb & 0xee) === 0x02) return isOurNumber ? 'information' : 'nothing';
    if ((pcb & 0xfe) === 0xa2 && block.length === 1) return isOurNumber ? 'acknowledgement' : 'other-acknowledgement';
    const wtxm = parameter & 0x3f;
    if (pcb === 0xf2 && block.length === 2 && wtxm >= 1 && wtxm <= 59) return { wtxm };
    return 'nothing';
  }
}
