/** The field of one contactless reader: cards are put and lifted at any time, frames go out and come back, or do not; and what goes wrong is ordered by name. */
import type { Bytes } from '#protocol/bytes.ts';
import { bitAt, bitLength, withCrc, withoutCrc } from './air-frame.ts';
import type { AirFrame } from './air-frame.ts';
import { anySignal } from './any-signal.ts';
import type { Picc } from './picc.ts';

/**
 * What the reader's receiver heard. 'silence': nothing within the time. 'collision': several cards answered and differ;
 * `frame` has both answers one over the other, `bits` counts those before the first that differs.
 */
export type FieldAnswer =
  | { readonly kind: 'frame'; readonly frame: AirFrame }
  | { readonly kind: 'collision'; readonly frame: AirFrame; readonly bits: number }
  | { readonly kind: 'silence' };

/**
 * 'lift-before': all cards leave before the frame reaches them; 'lift-after': they hear it, act on it, and leave before they answer;
 * 'drop-frame' and 'corrupt-frame': the card does not hear it, or hears a wrong CRC; 'drop-answer' and 'corrupt-answer': the same the other way.
 */
export type FieldFaultKind = 'lift-before' | 'lift-after' | 'drop-frame' | 'corrupt-frame' | 'drop-answer' | 'corrupt-answer';

export interface FieldFault {
  readonly kind: FieldFaultKind;
  /** At the n-th frame from now that `matches`; 1, the next, by default. For 'drop-answer' and 'corrupt-answer' only frames with an answer count. */
  readonly atFrame?: number;
  /** So many frames in a row. Default 1. */
  readonly times?: number;
  /** Frames with their CRC. Default: every frame. */
  readonly matches?: (frame: AirFrame) => boolean;
}

export interface ContactlessFieldOptions {
  /** How the reader's time-outs pass. Default: the system's clock; tests may let them pass at once. */
  readonly wait?: (ms: number, signal: AbortSignal) => Promise<void>;
}

interface ArmedFault {
  readonly fault: FieldFault;
  seen: number;
}

const SILENCE: FieldAnswer = { kind: 'silence' };

export class ContactlessField {
  readonly #cards = new Set<Picc>();
  readonly #wait: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly #listeners = new Set<() => void>();
  #faults: ArmedFault[] = [];
  /** Frames whose cards are still at work, also after the reader gave up listening. */
  readonly #underway = new Set<Promise<FieldAnswer>>();
  #isOn = false;
  #off = new AbortController();

  constructor(options: ContactlessFieldOptions = {}) {
    this.#wait = options.wait ?? waitMs;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** The cards that lie there, whether the field is on or not. */
  get cards(): readonly Picc[] {
    return [...this.#cards];
  }

  put(card: Picc): void {
    if (this.#cards.has(card)) return;
    this.#cards.add(card);
    if (this.#isOn) card.powerUp();
    this.#tellChange();
  }

  /** Lifts this card, or all. */
  lift(card?: Picc): void {
    const leaving = card === undefined ? [...this.#cards] : [card].filter((one) => this.#cards.has(one));
    for (const one of leaving) {
      this.#cards.delete(one);
      one.powerDown();
    }
    if (leaving.length > 0) this.#tellChange();
  }

  /** Called after a card was put or lifted; returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** RF on; no effect if it is. */
  turnOn(): void {
    if (this.#isOn) return;
    this.#isOn = true;
    this.#off = new AbortController();
    for (const card of this.#cards) card.powerUp();
  }

  /** RF off: every card loses its state, and a frame under way ends in silence. */
  turnOff(): void {
    if (!this.#isOn) return;
    this.#isOn = false;
    this.#off.abort();
    for (const card of this.#cards) card.powerDown();
  }

  /** Something goes wrong, once; several may be ordered. */
  inject(fault: FieldFault): void {
    this.#faults.push({ fault, seen: 0 });
  }

  clearFaults(): void {
    this.#faults = [];
  }

  /** Sends one frame, CRC and all, and listens for at most `timeoutMs` of real time; silence takes that long unless the field goes off, or the reader listens no more. */
  async exchange(frame: AirFrame, timeoutMs: number, signal?: AbortSignal): Promise<FieldAnswer> {
    if (!this.#isOn) return SILENCE;
    const deaf = anySignal(this.#off.signal, signal);
    const sent = this.#sendTo(frame);
    this.#underway.add(sent);
    void sent.finally(() => this.#underway.delete(sent));
    const timeout = this.#wait(timeoutMs, deaf.signal).then(() => SILENCE, () => SILENCE);
    try {
      // A card that was too late for an earlier frame talks into this one: that is heard as well as its answer would be.
      const voices = [...this.#underway].map((voice) => voice.then((answer) => (answer.kind === 'silence' ? timeout : answer)));
      const heard = await Promise.race([...voices, timeout]);
      if (heard === SILENCE || deaf.signal.aborted) return SILENCE;
      const answer = this.#spoilAnswer(frame, heard);
      if (answer.kind === 'silence') await timeout;
      return answer;
    } finally {
      deaf.release();
    }
  }

  async #sendTo(frame: AirFrame): Promise<FieldAnswer> {
    if (this.#takeFault('lift-before', frame)) this.lift();
    const isLostAfter = this.#takeFault('lift-after', frame);
    let heard = frame;
    if (this.#takeFault('drop-frame', frame)) return { kind: 'silence' };
    if (this.#takeFault('corrupt-frame', frame)) heard = corrupt(frame);
    const cards = [...this.#cards];
    const answers = await Promise.all(cards.map(async (card) => {
      const answer = await card.receive(heard);
      if (card.hasLeft) this.lift(card);
      return this.#cards.has(card) ? answer : undefined;
    }));
    if (isLostAfter) {
      this.lift();
      return { kind: 'silence' };
    }
    return superpose(answers.filter((answer) => answer !== undefined));
  }

  #spoilAnswer(frame: AirFrame, answer: FieldAnswer): FieldAnswer {
    if (answer.kind === 'silence') return answer;
    if (this.#takeFault('drop-answer', frame)) return { kind: 'silence' };
    return this.#takeFault('corrupt-answer', frame) ? { ...answer, frame: corrupt(answer.frame) } : answer;
  }

  #takeFault(kind: FieldFaultKind, frame: AirFrame): boolean {
    let isDue = false;
    for (const armed of this.#faults) {
      const { fault } = armed;
      if (fault.kind !== kind || !(fault.matches?.(frame) ?? true)) continue;
      armed.seen++;
      if (armed.seen >= (fault.atFrame ?? 1)) isDue = true;
    }
    this.#faults = this.#faults.filter(({ fault, seen }) => seen < (fault.atFrame ?? 1) + (fault.times ?? 1) - 1);
    return isDue;
  }

  #tellChange(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** What a reader hears whose hardware appends and checks the CRC. */
export type CheckedAnswer =
  | { readonly kind: 'answer'; readonly bytes: Bytes }
  | { readonly kind: 'broken' | 'collision' | 'silence' };

/** Sends whole bytes with their CRC_A; the answer comes without, or as 'broken' if its CRC is wrong. */
export async function exchangeWithCrc(field: ContactlessField, bytes: Bytes, timeoutMs: number): Promise<CheckedAnswer> {
  const answer = await field.exchange({ bytes: withCrc(bytes), lastBits: 8 }, timeoutMs);
  if (answer.kind !== 'frame') return { kind: answer.kind };
  const body = withoutCrc(answer.frame);
  return body === undefined ? { kind: 'broken' } : { kind: 'answer', bytes: body };
}

/** Answers of several cards at once: a load modulation of both, so that the first difference is where a receiver sees a collision. */
function superpose(answers: readonly AirFrame[]): FieldAnswer {
  const [first, ...others] = answers;
  if (first === undefined) return { kind: 'silence' };
  const longest = answers.reduce((a, b) => (bitLength(b) > bitLength(a) ? b : a));
  const merged = longest.bytes.slice();
  for (const { bytes } of answers) for (const [i, byte] of bytes.entries()) merged[i] = (merged[i] ?? 0) | byte;
  const frame: AirFrame = { bytes: merged, lastBits: longest.lastBits };
  const bits = Math.min(...others.map((other) => firstDifference(first, other)), bitLength(frame));
  return bits < bitLength(frame) ? { kind: 'collision', frame, bits } : { kind: 'frame', frame };
}

function firstDifference(a: AirFrame, b: AirFrame): number {
  const common = Math.min(bitLength(a), bitLength(b));
  for (let i = 0; i < common; i++) if (bitAt(a.bytes, i) !== bitAt(b.bytes, i)) return i;
  return common === Math.max(bitLength(a), bitLength(b)) ? Infinity : common;
}

/** Resolves at the end of the time, or of the signal. */
function waitMs(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
  });
}

function corrupt(frame: AirFrame): AirFrame {
  const bytes = frame.bytes.slice();
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) ^ 0x01;
  return { bytes, lastBits: frame.lastBits };
}
