/** ID TECH ViVOpay terminals (NEO, NEO 2) over WebHID: their ViVOtech2 pass-through carries command APDUs; nothing is sent twice to a card. */
import { equalBytes, type Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { SYSTEM_CLOCK, type Clock } from '../clock.ts';
import type { CardInField, ReaderDriver } from '../device/reader-driver.ts';
import type { HidDevice } from './hid-device.ts';
import { ReportPipe, type Report } from './report-pipe.ts';
import { encodeFrame, encodeReports, ResponseAssembly, type CrcOrder, type VivotechResponse } from './vivotech-frames.ts';

/** Command, sub-command (80139403-002, chapter 8). */
const PING = { command: 0x18, subCommand: 0x01 } as const;
const PASS_THROUGH = { command: 0x2c, modeSwitch: 0x01, poll: 0x02, apdu: 0x03 } as const;
const STATUS = { ok: 0x00, unknownCommand: 0x02, unknownSubCommand: 0x03, wrongCrc: 0x04, notSupported: 0x06, timeout: 0x08, failed: 0x0a, notAllowed: 0x0b, subNotAllowed: 0x0c } as const;
/** The owner of the terminal, or its SRED filter, keeps pass-through from us. */
const LOCKED: readonly number[] = [STATUS.unknownCommand, STATUS.unknownSubCommand, STATUS.notSupported, STATUS.notAllowed, STATUS.subNotAllowed];
/** First byte of a poll's answer. */
const NO_CARD = 0x00;
/** Type A and B with ISO/IEC 14443-4, a telephone, NFC Forum type 4. */
const TAKES_COMMANDS: readonly number[] = [0x01, 0x02, 0x07, 0x0d];

/** What the reader may take for a command that only concerns itself. */
const ANSWER_LIMIT_MS = 800;
/** A poll looks for 200 ms: T1 in seconds, T2 in units of 10 ms. */
const POLL_TIME = Uint8Array.of(0x00, 0x14);
const POLL_LIMIT_MS = 200 + ANSWER_LIMIT_MS;
const PING_TRIES = 3;

export function createVivotech(device: HidDevice, clock: Clock = SYSTEM_CLOCK): ReaderDriver {
  return new VivotechReader(device, clock);
}

class VivotechReader implements ReaderDriver {
  readonly readerName: string;
  readonly #device: HidDevice;
  readonly #clock: Clock;
  #pipe: ReportPipe | undefined;
  /** The guide contradicts itself for 2C; learnt from the reader, see #ask. */
  #crcOrder: CrcOrder = 'msb-first';
  /** A card was made ready since pass-through was switched on: it answers no poll until its field was off. */
  #activated = false;
  #trouble: Failure | undefined;

  constructor(device: HidDevice, clock: Clock) {
    this.#device = device;
    this.#clock = clock;
    this.readerName = device.productName === '' ? 'ID TECH ViVOpay' : device.productName;
  }

  async open(): Promise<void> {
    this.#pipe = new ReportPipe(this.#device, this.#clock);
    this.#trouble = undefined;
    await this.#pipe.open();
    await this.#settle();
    await this.#fieldOff();
    await this.#passThrough(true);
  }

  async findCard(): Promise<CardInField | undefined> {
    if (this.#trouble !== undefined) throw this.#trouble;
    const found = await this.#look();
    return found === undefined ? undefined : this.#card(found);
  }

  async close(): Promise<void> {
    await this.#pipe?.close(this.#reportsOf(PASS_THROUGH.command, PASS_THROUGH.modeSwitch, Uint8Array.of(0)));
  }

  #card({ uid }: Found): CardInField {
    let used = false;
    let lost = false;
    return {
      uid,
      transceive: async (command, limitMs) => {
        used = true;
        try {
          return await this.#transceive(command, limitMs, uid);
        } catch (thrown) {
          lost = true;
          throw thrown;
        }
      },
      // The reader has no event and no harmless question for a card in the field. Before the first command the card has no session to lose, so it is
      // simply found anew; from then on it counts as present until a command fails.
      isPresent: async () => {
        if (used) return !lost && this.#device.opened;
        const found = await this.#look();
        return found !== undefined && isSameCard(found.uid, uid);
      },
      release: async () => {
        try {
          if (lost) await this.#settle();
          await this.#fieldOff();
          await this.#passThrough(true);
        } catch (thrown) {
          this.#trouble = asFailure(thrown);
        }
      },
    };
  }

  async #transceive(command: Bytes, limitMs: number, uid: Bytes | undefined): Promise<Bytes> {
    const deadline = this.#clock.now() + limitMs;
    const response = await this.#ask(PASS_THROUGH.command, PASS_THROUGH.apdu, command, limitMs);
    if (response === undefined) throw new Failure('card/silent');
    const { status, data } = response;
    if (status === STATUS.ok && data.length >= 2) return data;
    if (status === STATUS.timeout || status === STATUS.failed) throw await this.#whyNoAnswer(status, uid, deadline);
    // SRED models answer 06 when the card's data looks like payment data and is not on their white list (2C-50).
    if (LOCKED.includes(status)) throw new Failure('reader/permission', { detail: `the terminal keeps the card's answer to itself (status ${status})` });
    throw new Failure('reader/failed', { detail: status === STATUS.ok ? 'an answer without a status word' : `status ${status} to a command` });
  }

  /** The guide does not tell a mute card from one that left: if the card is found anew, it was there. It has lost its session either way. */
  async #whyNoAnswer(status: number, uid: Bytes | undefined, deadline: number): Promise<Failure> {
    const detail = `status ${status} to a command`;
    // Too late to look: 0A is what a lost card gives, 08 what a mute one does.
    if (deadline - this.#clock.now() < 300) return new Failure(status === STATUS.failed ? 'card/removed' : 'card/silent', { detail });
    const found = await this.#look();
    return new Failure(found !== undefined && isSameCard(found.uid, uid) ? 'card/silent' : 'card/removed', { detail });
  }

  /** One look. A card that was made ready before loses its session by it. */
  async #look(): Promise<Found | undefined> {
    if (this.#activated) {
      await this.#fieldOff();
      await this.#passThrough(true);
    }
    const { status, data } = await this.#demand(PASS_THROUGH.command, PASS_THROUGH.poll, POLL_TIME, POLL_LIMIT_MS);
    if (status === STATUS.timeout) return undefined;
    if (LOCKED.includes(status)) throw lockedFailure(status);
    // Answered once and not again, or two cards that spoke at once: the guide does not tell them apart.
    if (status === STATUS.failed) throw new Failure('card/silent', { detail: 'a card could not be made ready' });
    const [type] = data;
    if (status !== STATUS.ok || type === undefined) throw new Failure('reader/failed', { detail: `status ${status} to a poll` });
    if (type === NO_CARD) return undefined;
    this.#activated = true;
    if (!TAKES_COMMANDS.includes(type)) throw new Failure('card/unsupported', { detail: `card type ${type}` });
    const uid = data.slice(1);
    return { uid: [4, 7, 10].includes(uid.length) ? uid : undefined };
  }

  async #passThrough(on: boolean): Promise<void> {
    const { status } = await this.#demand(PASS_THROUGH.command, PASS_THROUGH.modeSwitch, Uint8Array.of(on ? 1 : 0), ANSWER_LIMIT_MS);
    if (LOCKED.includes(status)) throw lockedFailure(status);
    if (on && status !== STATUS.ok) throw new Failure('reader/failed', { detail: `status ${status} to pass-through` });
  }

  async #fieldOff(): Promise<void> {
    // Switching off what is off already may be refused: its status does not matter.
    await this.#passThrough(false);
    this.#activated = false;
  }

  /** All answers to earlier commands are behind us once a ping is answered: answers carry no number, and every pass-through answer looks alike. */
  async #settle(): Promise<void> {
    for (let tries = 0; tries < PING_TRIES; tries++) {
      if ((await this.#ask(PING.command, PING.subCommand, new Uint8Array(), ANSWER_LIMIT_MS, 'lenient')) !== undefined) return;
    }
    throw new Failure('reader/failed', { detail: 'the reader does not answer a ping' });
  }

  async #demand(command: number, subCommand: number, data: Bytes, limitMs: number): Promise<VivotechResponse> {
    const response = await this.#ask(command, subCommand, data, limitMs);
    if (response === undefined) throw new Failure('reader/failed', { detail: `no answer to ${command.toString(16)}-${subCommand.toString(16)}` });
    return response;
  }

  /**
   * One command and its response; undefined: none in time. Status 04 says that the reader refused the frame for its CRC and did nothing else,
   * so the same command in the other byte order is not a repetition for the card; the order that worked is kept. Once: a second 04 is an error.
   */
  async #ask(command: number, subCommand: number, data: Bytes, limitMs: number, nonsense: 'strict' | 'lenient' = 'strict'): Promise<VivotechResponse | undefined> {
    const deadline = this.#clock.now() + limitMs;
    const first = await this.#exchange(command, subCommand, data, deadline, nonsense);
    if (command !== PASS_THROUGH.command || first?.status !== STATUS.wrongCrc) return first;
    this.#crcOrder = this.#crcOrder === 'msb-first' ? 'lsb-first' : 'msb-first';
    return this.#exchange(command, subCommand, data, deadline, nonsense);
  }

  async #exchange(command: number, subCommand: number, data: Bytes, deadline: number, nonsense: 'strict' | 'lenient'): Promise<VivotechResponse | undefined> {
    const pipe = this.#pipe;
    if (pipe === undefined) throw new Failure('reader/failed', { detail: 'the reader is not open' });
    pipe.drain();
    for (const { id, bytes } of this.#reportsOf(command, subCommand, data)) await pipe.send(id, bytes);
    const assembly = new ResponseAssembly();
    for (;;) {
      const report = await pipe.next(deadline - this.#clock.now());
      if (report === undefined) return undefined;
      try {
        const response = assembly.accept(report);
        // Some models say things unasked; an answer has the command's own number.
        if (response?.command === command) return response;
      } catch (cause) {
        if (nonsense === 'strict') throw new Failure('reader/failed', { cause, detail: 'the reader sent nonsense' });
      }
    }
  }

  #reportsOf(command: number, subCommand: number, data: Uint8Array): Report[] {
    return encodeReports(encodeFrame(command, subCommand, data, command === PASS_THROUGH.command ? this.#crcOrder : 'lsb-first'));
  }
}

interface Found {
  readonly uid: Bytes | undefined;
}

/** Random numbers (4 bytes, the first 08: ISO/IEC 14443-3, 6.5.4) are new at every contact and tell nothing. */
function isSameCard(a: Bytes | undefined, b: Bytes | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  const isRandom = (uid: Bytes): boolean => uid.length === 4 && uid[0] === 0x08;
  return isRandom(a) ? isRandom(b) : equalBytes(a, b);
}

function lockedFailure(status: number): Failure {
  return new Failure('reader/permission', { detail: `the terminal does not allow pass-through (status ${status})` });
}
