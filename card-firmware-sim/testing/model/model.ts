/** For tests only: the card in the plainest terms, to foretell every answer of the chip; it shares no code with it, and knows neither ciphers nor MACs nor bytes on a wire. */
import { FILE_RULES } from './files.ts';
import { MANAGEMENT_RULES } from './management.ts';
import { ModelCard, Refusal, refuse } from './card.ts';
import { TRANSACTION_RULES } from './transactions.ts';
import type { CardImage } from '../../card-image.ts';
import type { Mode, Oracle, Plain } from './card.ts';
import type { Profile } from '../../profile.ts';

/** A command as the host means it. */
export interface Sent {
  readonly instruction: number;
  readonly header: number[];
  /** Before encipherment. */
  readonly data: number[];
  /** As it travels: what a card takes for data if it asked for a MAC only. */
  readonly enciphered: number[];
  readonly mode: Mode;
  /** Whether its MAC is right: of this session, for this command, at this count. */
  readonly isGenuine: boolean;
}

/** An answer as the host reads it; bytes are undefined where only the card can know them. */
export interface Said {
  readonly status: number;
  readonly data: number[];
  readonly mode: Mode;
  /** Bytes of the data that earlier frames have brought. */
  readonly broughtBytes?: number;
}

type Waiting = { for: 'proof'; keyNo: number } | { for: 'frame'; frames: number[][]; whole: number[]; mode: Mode };

const RULES = { ...FILE_RULES, ...MANAGEMENT_RULES, ...TRANSACTION_RULES };

/** It forgets everything but `kept` without power. */
export class Model {
  readonly card: ModelCard;
  readonly #now: () => number;
  #waiting: Waiting | undefined;
  /** Until when each key answers AD. */
  #delays: Record<number, number> = {};

  constructor(kept: Plain<CardImage>, profile: Profile, oracle: Oracle, now: () => number) {
    this.card = new ModelCard(kept, profile, oracle);
    this.#now = now;
  }

  loseField(): void {
    this.card.level = 'card';
    this.#waiting = undefined;
    this.#delays = {};
    this.card.end();
  }

  // ISO commands: status word and data.

  selectApplication(name: number[], withFci: boolean): [number, number[]] {
    this.#waiting = undefined;
    this.card.end();
    if (String(name) !== String(this.card.application.name)) return [0x6a82, []];
    this.card.level = 'application';
    const fci = this.card.application.files.find((file) => file.number === 0x1f);
    return [this.card.isCounterUsedUp() ? 0x6283 : 0x9000, withFci && fci?.type === 'standard' ? fci.content : []];
  }

  selectCard(): [number, number[]] {
    this.#waiting = undefined;
    this.card.level = 'card';
    this.card.end();
    return [0x9000, []];
  }

  selectFile(isoId: number): [number, number[]] {
    this.#waiting = undefined;
    const exists = this.card.level === 'application' && this.card.application.files.some((file) => 'isoId' in file && file.isoId === isoId);
    if (exists) return [0x9000, []];
    this.card.end();
    return [0x6a82, []];
  }

  readBinary(): [number, number[]] {
    this.#waiting = undefined;
    this.card.end();
    return [this.card.level === 'application' && this.card.macFile !== undefined ? 0x6985 : 0x6d00, []];
  }

  // Native commands.

  malformed(): Said {
    return this.#answer(() => refuse(0x7e));
  }

  command(sent: Sent): Said {
    return this.#answer(() => {
      this.#interrupt();
      const rule = RULES[sent.instruction] ?? refuse(0x1c);
      if (this.card.level === 'card' && rule.isForCardToo !== true) refuse(0x9d);
      if (sent.header.length < rule.headerBytes) refuse(0x7e);
      const [asked, answered] = this.#travels(sent.instruction, sent.header);
      const [least, most] = rule.dataBytes?.(sent.header) ?? [0, 0];
      const length = onWire(sent.data.length, sent.mode);
      if (length < onWire(least, asked) || length > onWire(most, asked)) refuse(0x7e);
      if (asked === 'full' && (length - 8) % 16 !== 0) refuse(0x7e);
      // Without data there is nothing to encipher: then MAC and full are the same.
      const isMeant = sent.mode === asked || (sent.mode !== 'plain' && (asked === 'mac' || sent.data.length === 0));
      if (asked !== 'plain' && !(sent.isGenuine && isMeant)) refuse(0x1e);
      const sentData = asked === 'mac' ? sent.enciphered : sent.data;
      if (asked === 'full' && (sent.data.length < least || sent.data.length > most)) refuse(0x7e);
      const hadSession = this.card.session !== undefined;
      const { status = 0x00, data = [], frames } = rule.run(this.card, sent.header, sentData);
      const mode = hadSession && this.card.session === undefined ? 'plain' : answered;
      if (onWire(data.length, mode) > 253) refuse(0x7e);
      if (frames === undefined) return { status, data, mode };
      this.#waiting = { for: 'frame', frames, whole: data, mode };
      return this.#nextFrame();
    });
  }

  /** How a host that knows the card would send the command now; anything where the card refuses in any case. */
  modeAsked(instruction: number, header: number[]): Mode {
    try {
      return this.#travels(instruction, header)[0];
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return 'mac';
    }
  }

  #travels(instruction: number, header: number[]): [Mode, Mode] {
    return this.card.session === undefined ? ['plain', 'plain'] : RULES[instruction]?.travels(this.card, header) ?? ['mac', 'mac'];
  }

  /** The first pass; whether the host then knows the key shows in the second. */
  challenge(isFirst: boolean, keyNo: number): Said {
    return this.#answer(() => {
      this.#interrupt();
      if (!isFirst && this.card.session === undefined) refuse(0x9d);
      const key = (this.card.level === 'application' ? this.card.application.keys[keyNo] : undefined) ?? refuse(0x40);
      const { isCounted, limit } = this.card.kept.picc.configuration.failedAuthentications;
      if (isCounted && key.failures >= limit) refuse(0x9d);
      if (isCounted && this.#isDelayed(keyNo, key.failuresInARow)) refuse(0xad);
      this.#waiting = { for: 'proof', keyNo };
      if (isFirst && this.card.profile.firstAuthentication === 'aborts-transaction') this.card.abort();
      this.card.session = undefined;
      return { status: 0xaf, data: [], mode: 'plain' };
    });
  }

  #isDelayed(keyNo: number, failures: number): boolean {
    const delay = this.card.profile.authenticationDelay;
    if (delay === undefined || failures < delay.afterFailures) return false;
    this.#delays[keyNo] ??= this.#now() + (failures - delay.afterFailures + 1) * delay.stepMs;
    return this.#now() < this.#delays[keyNo];
  }

  /** An additional frame of the host: the proof that it knows `key`, if it was made to be one, or anything. */
  frame(bytes: number, key?: number[]): Said {
    return this.#answer(() => {
      const waiting = this.#waiting ?? refuse(0x1c);
      if (waiting.for === 'frame') return bytes === 0 ? this.#nextFrame() : refuse(0x7e);
      this.#waiting = undefined;
      if (bytes !== 32) refuse(0x7e);
      this.#prove(waiting.keyNo, String(key) === String(this.card.application.keys[waiting.keyNo]?.value));
      this.card.session = { keyNo: waiting.keyNo };
      return { status: 0x00, data: [], mode: 'plain' };
    });
  }

  #prove(keyNo: number, isKnown: boolean): void {
    const key = this.card.application.keys[keyNo] ?? refuse(0x40);
    const { isCounted, decrement } = this.card.kept.picc.configuration.failedAuthentications;
    if (isCounted) {
      const wasCounted = [key.failures, key.failuresInARow];
      key.failures = isKnown ? Math.max(0, key.failures - decrement) : key.failures + 1;
      key.failuresInARow = isKnown ? 0 : Math.min(255, key.failuresInARow + 1);
      if (String(wasCounted) !== String([key.failures, key.failuresInARow])) Reflect.deleteProperty(this.#delays, keyNo);
    }
    if (!isKnown) refuse(0xae);
  }

  #nextFrame(): Said {
    const waiting = this.#waiting;
    if (waiting?.for !== 'frame') return refuse(0x1c);
    const [frame = [], ...rest] = waiting.frames;
    if (rest.length === 0) {
      this.#waiting = undefined;
      return { status: 0x00, data: waiting.whole, mode: waiting.mode, broughtBytes: waiting.whole.length - frame.length };
    }
    waiting.frames = rest;
    return { status: 0xaf, data: frame, mode: 'plain' };
  }

  #interrupt(): void {
    if (this.#waiting !== undefined && this.card.profile.onInterruption === 'abort') refuse(0xca);
    this.#waiting = undefined;
  }

  /** An error ends session, transaction and whatever was begun, and carries nothing. */
  #answer(work: () => Said): Said {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#waiting = undefined;
      this.card.end();
      return { status: error.status, data: [], mode: 'plain' };
    }
  }
}

/** Bytes after the header. */
function onWire(dataBytes: number, mode: Mode): number {
  if (mode === 'plain') return dataBytes;
  return 8 + (mode === 'full' && dataBytes > 0 ? 16 * (Math.floor(dataBytes / 16) + 1) : dataBytes);
}
