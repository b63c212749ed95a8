/** Sony RC-S380 (NFC Port-100) over WebUSB: the reader only sends and receives radio frames; ISO/IEC 14443-3 and -4 are ours. */
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { CardInField, ReaderDriver } from '../device/reader-driver.ts';
import { ATS_WAIT_MS, parseAts, RATS, type Ats } from '../iso-dep-ats.ts';
import type { OperatingSystem } from '../reader-registry.ts';
import { pause, SYSTEM_CLOCK, type Clock } from '../clock.ts';
import { COMMAND, PROTOCOL, PROTOCOL_DEFAULTS, RF_106A, type RadioAnswer } from './rc-s380-frames.ts';
import { RcS380Link } from './rc-s380-link.ts';
import type { UsbDevice } from './usb-device.ts';
import type { UsbPipe } from './usb-pipe.ts';
import { createRadioCard, createUsbReader, type Radio } from './usb-reader.ts';

/** `system`: on Linux a reader that cannot be claimed is in the hands of the kernel's driver port100; elsewhere another program's. */
export function createRcS380(device: UsbDevice, clock: Clock = SYSTEM_CLOCK, system: OperatingSystem | 'other' = 'linux'): ReaderDriver {
  const product = device.productName ? ` (${device.productName})` : '';
  return createUsbReader({
    device,
    clock,
    readerName: `${device.manufacturerName ?? 'SONY'} RC-S380/${device.productId === 0x06c3 ? 'P' : 'S'}${product}`,
    claimRefused: system === 'linux' ? 'reader/driver' : 'reader/in-use',
    createRadio: (pipe) => new RcS380Radio(pipe, clock),
  });
}

const QUIET_MS = 10;
const FAREWELL_LIMIT_MS = 300;
/** What the reader waits for a card in parts 3 and 4, before the card's own limits are known. */
const ACTIVATION_WAIT_MS = 30;
/** A card needs 5 ms without a field to forget everything (ISO/IEC 14443-3, 5); the reader itself is slower. */
const RF_OFF_MS = 30;
/** The command type that knows all of the commands used here. */
const COMMAND_TYPE = Uint8Array.of(0x01);
const FIELD_OFF = Uint8Array.of(0x00);

const REQA = Uint8Array.of(0x26);
/** SEL of the three cascade levels (ISO/IEC 14443-3, 6.5.3.1). */
const CASCADE_LEVELS = [0x93, 0x95, 0x97] as const;
const ANTICOLLISION_NVB = 0x20;
const SELECT_NVB = 0x70;
const CASCADE_TAG = 0x88;
const SAK = { uidNotComplete: 0x04, takesBlocks: 0x20 } as const;

class RcS380Radio implements Radio {
  readonly #clock: Clock;
  readonly #link: RcS380Link;
  /** The reader is set to call cards: one exchange is a whole look. */
  #isCalling = false;

  constructor(pipe: UsbPipe, clock: Clock) {
    this.#clock = clock;
    this.#link = new RcS380Link(pipe, clock);
  }

  async begin(): Promise<void> {
    await this.#link.reset(QUIET_MS);
    await this.#link.set(COMMAND.setCommandType, COMMAND_TYPE);
    const version = await this.#link.command(COMMAND.getFirmwareVersion, new Uint8Array());
    if (version.length !== 2) throw new Failure('reader/failed', { detail: 'tells no version' });
    await this.#fieldOff();
  }

  async farewell(pipe: UsbPipe): Promise<void> {
    const link = new RcS380Link(pipe, this.#clock);
    await link.reset(QUIET_MS, FAREWELL_LIMIT_MS);
    await link.set(COMMAND.switchRf, FIELD_OFF, FAREWELL_LIMIT_MS);
  }

  async findCard(): Promise<CardInField | undefined> {
    try {
      if (!(await this.#call())) return undefined;
      const uid = await this.#select();
      const ats = await this.#requestAts();
      return await createRadioCard({
        uid,
        ats,
        clock: this.#clock,
        exchange: async (block, timeoutMs) => {
          const answer = await this.#link.radio(block, timeoutMs);
          return answer === 'collision' ? 'garbled' : answer;
        },
        fieldOff: () => this.#fieldOff(),
      });
    } catch (reason) {
      // Whatever state the cards are in, they begin anew; the first reason tells more than what may fail here.
      await this.#fieldOff().catch(() => undefined);
      throw reason;
    }
  }

  /** REQA (ISO/IEC 14443-3, 6.4.1): whether a card of type A answers. */
  async #call(): Promise<boolean> {
    if (!this.#isCalling) {
      await this.#link.set(COMMAND.inSetRf, RF_106A);
      await this.#link.set(COMMAND.inSetProtocol, PROTOCOL_DEFAULTS);
      await this.#protocol([PROTOCOL.initialGuardTime, 6], [PROTOCOL.addCrc, 0], [PROTOCOL.checkCrc, 0], [PROTOCOL.checkParity, 1], [PROTOCOL.lastByteBits, 7]);
      this.#isCalling = true;
    }
    const atqa = await this.#link.radio(REQA, ACTIVATION_WAIT_MS);
    if (atqa === 'timeout') return false;
    this.#isCalling = false;
    // 6.5.2: bits 1 to 5 say how UIDs are found; none of them set means a card that is spoken to otherwise.
    const [first = 0] = readable(atqa, 2);
    if ((first & 0x1f) === 0) throw new Failure('card/unsupported', { detail: 'no anticollision by bits' });
    return true;
  }

  /** Anticollision and selection (6.5.3), one level for each 3 or 4 bytes of the UID. A collision is not resolved but told: one card is wanted. */
  async #select(): Promise<Bytes> {
    await this.#protocol([PROTOCOL.addParity, 1], [PROTOCOL.lastByteBits, 8]);
    const parts: Uint8Array[] = [];
    for (const level of CASCADE_LEVELS) {
      await this.#protocol([PROTOCOL.addCrc, 0], [PROTOCOL.checkCrc, 0]);
      const part = readable(await this.#link.radio(Uint8Array.of(level, ANTICOLLISION_NVB), ACTIVATION_WAIT_MS), 5);
      // BCC makes the sum of all five 0.
      if (part.reduce((sum, byte) => sum ^ byte, 0) !== 0) throw new Failure('card/silent', { detail: 'BCC' });
      await this.#protocol([PROTOCOL.addCrc, 1], [PROTOCOL.checkCrc, 1]);
      const [sak = 0] = readable(await this.#link.radio(concatBytes(Uint8Array.of(level, SELECT_NVB), part), ACTIVATION_WAIT_MS), 1);
      const goesOn = (sak & SAK.uidNotComplete) !== 0;
      if (goesOn !== (part[0] === CASCADE_TAG) || (goesOn && level === 0x97)) throw new Failure('card/unsupported', { detail: 'cascade' });
      parts.push(goesOn ? part.subarray(1, 4) : part.subarray(0, 4));
      if (goesOn) continue;
      if ((sak & SAK.takesBlocks) === 0) throw new Failure('card/unsupported', { detail: `SAK ${sak.toString(16)}` });
      break;
    }
    return concatBytes(...parts);
  }

  /** ISO/IEC 14443-4, 5.6.1: asked once more where the answer does not come. */
  async #requestAts(): Promise<Ats> {
    const first = await this.#link.radio(RATS, ATS_WAIT_MS);
    return parseAts(readable(typeof first === 'string' ? await this.#link.radio(RATS, ATS_WAIT_MS) : first));
  }

  async #protocol(...settings: readonly (readonly [key: number, value: number])[]): Promise<void> {
    await this.#link.set(COMMAND.inSetProtocol, Uint8Array.from(settings.flat()));
  }

  async #fieldOff(): Promise<void> {
    this.#isCalling = false;
    await this.#link.set(COMMAND.switchRf, FIELD_OFF);
    await pause(this.#clock, RF_OFF_MS);
  }
}

/** A frame of that length from a card that has answered before. */
function readable(answer: RadioAnswer, length?: number): Bytes {
  if (answer === 'collision') throw new Failure('card/several');
  if (typeof answer === 'string') throw new Failure('card/silent', { detail: answer });
  if (length !== undefined && answer.length !== length) throw new Failure('card/silent', { detail: `${answer.length} bytes for ${length}` });
  return answer;
}
