/** One contactless card: the type A state machine of ISO/IEC 14443-3 and the activation of 14443-4, with an application on top. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { concatBytes, equalBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { bitAt, bitLength, bitSlice, withCrc, withoutCrc, wholeFrame } from './air-frame.ts';
import type { AirFrame } from './air-frame.ts';
import { frameSize, frameWaitingTimeMs, parseAts } from './iso-dep-parameters.ts';
import { PiccIsoDep } from './picc-iso-dep.ts';
import type { CardApplication } from './usb-device.ts';

export interface PiccOptions {
  readonly application: CardApplication;
  /** TL first. Default `06 77 77 71 02 80`: FSC 128, FWI 7 (38.7 ms), CID yes, NAD no. */
  readonly ats?: Bytes;
  /** A 4-byte UID that starts with 08, new at each start of the field, instead of the application's 7 bytes. */
  readonly randomUid?: boolean;
  /** WTXM of each S(WTX), 1 to 59. Default 1. */
  readonly wtxm?: number;
  /** The share of FWT after which the card asks for time. Default 0.5. */
  readonly wtxShare?: number;
  /** Default: the system's clock. */
  readonly wait?: (ms: number) => Promise<void>;
  /** Default: the system's randomness. */
  readonly random?: (length: number) => Uint8Array;
}

type State = 'off' | 'idle' | 'ready' | 'active' | 'halt' | 'protocol';

const DEFAULT_ATS = new Uint8Array([0x06, 0x77, 0x77, 0x71, 0x02, 0x80]);
/** ISO/IEC 14443-3, 6.4 and 6.5. */
const SHORT = { REQA: 0x26, WUPA: 0x52 } as const;
const SELECT_CODES = [0x93, 0x95, 0x97] as const;
const CASCADE_TAG = 0x88;
const HLTA = new Uint8Array([0x50, 0x00]);
const SAK = { ISO_DEP: 0x20, CASCADE: 0x04 } as const;
/** As sent: double-size and single-size UID. */
const ATQA = { DOUBLE: [0x44, 0x03], SINGLE: [0x04, 0x03] } as const;
const RATS = 0xe0;
const PPSS = 0xd0;
const UID_BITS_OF_LEVEL = 40;

export class Picc {
  readonly application: CardApplication;
  /** So many S(WTX) before each answer, from the next command on. */
  wtxStorm = 0;
  /** The chip takes so much longer for each command, from the next one on. */
  workMs = 0;
  /** 'tear' came from the application: the card is out of the field and hears nothing. The field lifts it. */
  hasLeft = false;
  readonly #ats: Bytes;
  readonly #options: PiccOptions;
  readonly #wait: (ms: number) => Promise<void>;
  #state: State = 'off';
  #cameFromHalt = false;
  #level = 0;
  #uid: Bytes;
  #protocol: PiccIsoDep | undefined;
  #mayNegotiateSpeed = false;
  /** Commands and resets reach the application one after the other, whatever happens to the field. */
  #applicationWork: Promise<unknown> = Promise.resolve();

  constructor(options: PiccOptions) {
    this.#options = options;
    this.application = options.application;
    this.#uid = options.application.uid;
    this.#ats = options.ats ?? DEFAULT_ATS;
    this.#wait = options.wait ?? ((ms) => delay(ms));
    if (this.#uid.length !== 7) throw new RangeError('a card has a UID of 7 bytes');
    if (this.#ats[0] !== this.#ats.length) throw new RangeError('TL is the length of the ATS');
  }

  /** As the reader sees it now. */
  get uid(): Bytes {
    return this.#uid;
  }

  get state(): State {
    return this.#state;
  }

  /** Enters a field that is on, or the field goes on. */
  powerUp(): void {
    if (this.#options.randomUid === true) {
      this.#uid = concatBytes(new Uint8Array([0x08]), (this.#options.random ?? randomBytes)(3));
    }
    this.hasLeft = false;
    this.#cameFromHalt = false;
    this.#state = 'idle';
  }

  /** Leaves the field, or the field goes off: a command under way is finished inside the chip, then the application is reset. */
  powerDown(): void {
    if (this.#state === 'off') return;
    this.#state = 'off';
    this.#protocol = undefined;
    void this.#enqueue(() => this.application.reset());
  }

  /** Settles when the application has done all it was told, resets included. */
  async idle(): Promise<void> {
    await this.#applicationWork;
  }

  /** One frame from the reader, with its CRC; undefined: the card says nothing. */
  async receive(frame: AirFrame): Promise<AirFrame | undefined> {
    switch (this.#state) {
      case 'off':
        return undefined;
      case 'idle':
      case 'halt':
        return this.#wake(frame);
      case 'ready':
        return this.#select(frame);
      case 'active':
        return this.#activate(frame);
      case 'protocol':
        return this.#speak(frame);
    }
  }

  #enqueue<T>(job: () => Promise<T>): Promise<T> {
    const result = this.#applicationWork.then(job);
    // What a command threw is its caller's to hear; the next one starts anyway.
    this.#applicationWork = result.catch(() => undefined);
    return result;
  }

  #wake(frame: AirFrame): AirFrame | undefined {
    const isShort = frame.bytes.length === 1 && frame.lastBits === 7;
    const command = isShort ? frame.bytes[0] : undefined;
    if (command !== SHORT.WUPA && !(command === SHORT.REQA && this.#state === 'idle')) return undefined;
    this.#cameFromHalt = this.#state === 'halt';
    this.#state = 'ready';
    this.#level = 0;
    return wholeFrame(new Uint8Array(this.#uid.length === 7 ? ATQA.DOUBLE : ATQA.SINGLE));
  }

  /** 6.4.1: whatever does not belong in this state takes the card back to where it was woken. */
  #fallBack(): AirFrame | undefined {
    this.#state = this.#cameFromHalt ? 'halt' : 'idle';
    return undefined;
  }

  #levels(): number {
    return this.#uid.length === 7 ? 2 : 1;
  }

  /** UID CLn and BCC: 5 bytes. */
  #uidOfLevel(): Bytes {
    const part = this.#uid.length === 4 ? this.#uid
      : this.#level === 0 ? concatBytes(new Uint8Array([CASCADE_TAG]), this.#uid.subarray(0, 3)) : this.#uid.subarray(3, 7);
    return concatBytes(part, new Uint8Array([part.reduce((bcc, byte) => bcc ^ byte, 0)]));
  }

  #select(frame: AirFrame): AirFrame | undefined {
    const [code, nvb = 0] = frame.bytes;
    if (code !== SELECT_CODES[this.#level] || bitLength(frame) < 16) return this.#fallBack();
    const ours = this.#uidOfLevel();
    if (nvb === 0x70) {
      const body = withoutCrc(frame);
      if (body === undefined || !equalBytes(body.subarray(2), ours)) return this.#fallBack();
      const isLast = this.#level === this.#levels() - 1;
      if (isLast) this.#state = 'active';
      else this.#level++;
      return wholeFrame(withCrc(new Uint8Array([isLast ? SAK.ISO_DEP : SAK.CASCADE])));
    }
    // NVB counts whole bytes and bits over, itself and the code included (6.5.3.3).
    const known = 8 * (nvb >> 4) + (nvb & 7) - 16;
    if (known < 0 || known >= UID_BITS_OF_LEVEL || (nvb & 8) !== 0 || bitLength(frame) !== known + 16) return this.#fallBack();
    for (let i = 0; i < known; i++) if (bitAt(frame.bytes, 16 + i) !== bitAt(ours, i)) return this.#fallBack();
    return bitSlice(ours, known, UID_BITS_OF_LEVEL);
  }

  #activate(frame: AirFrame): AirFrame | undefined {
    const body = withoutCrc(frame);
    if (body !== undefined && equalBytes(body, HLTA)) {
      this.#state = 'halt';
      return undefined;
    }
    const [command, parameter = 0] = body ?? [];
    // CID 15 is reserved (14443-4, 5.1).
    if (command !== RATS || body?.length !== 2 || (parameter & 0x0f) === 0x0f) return this.#fallBack();
    this.#protocol = this.#openProtocol(frameSize(parameter >> 4), parameter & 0x0f);
    this.#state = 'protocol';
    this.#mayNegotiateSpeed = true;
    return wholeFrame(withCrc(this.#ats));
  }

  #openProtocol(fsd: number, cid: number): PiccIsoDep {
    const { fsci, fwi } = parseAts(this.#ats);
    return new PiccIsoDep({
      process: (command) => this.#process(command),
      fsd, fsc: frameSize(fsci), cid,
      wtxm: this.#options.wtxm ?? 1,
      patienceMs: frameWaitingTimeMs(fwi) * (this.#options.wtxShare ?? 0.5),
      wtxStorm: () => this.wtxStorm,
      wait: this.#wait,
    });
  }

  /** In its turn, however long it takes: a chip that has lost its field finishes nothing after what it is told later. */
  #process(command: Bytes): Promise<Bytes | 'mute' | 'tear'> {
    const { workMs } = this;
    return this.#enqueue(async () => {
      if (workMs > 0) await this.#wait(workMs);
      return this.application.process(command);
    });
  }

  async #speak(frame: AirFrame): Promise<AirFrame | undefined> {
    const block = withoutCrc(frame);
    const protocol = this.#protocol;
    if (block === undefined || protocol === undefined) return undefined;
    const isPps = ((block[0] ?? 0) & 0xf0) === PPSS;
    if (isPps && this.#mayNegotiateSpeed) {
      this.#mayNegotiateSpeed = false;
      // The field has one speed; a card that lists others in TA takes them all (5.3).
      return wholeFrame(withCrc(block.slice(0, 1)));
    }
    const reaction = await protocol.receive(block);
    if (this.#protocol !== protocol) return undefined; // the field went off meanwhile
    if (reaction === undefined) return undefined;
    this.#mayNegotiateSpeed = false;
    if (reaction === 'tear') {
      this.hasLeft = true;
      this.powerDown();
      return undefined;
    }
    if (reaction instanceof Uint8Array) return wholeFrame(withCrc(reaction));
    this.#protocol = undefined;
    this.#state = 'halt';
    void this.#enqueue(() => this.application.reset());
    return wholeFrame(withCrc(reaction.deselected));
  }
}
