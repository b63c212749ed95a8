/** Sony RC-S300 (PaSoRi 4.0) over WebUSB: pseudo-APDUs on its vendor interface; of the card's protocol the reader carries frames, and we do the rest. */
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { CardInField, ReaderDriver } from '../device/reader-driver.ts';
import { ATS_WAIT_MS, parseAts, RATS, type Ats } from '../iso-dep-ats.ts';
import type { BlockAnswer } from '../iso-dep.ts';
import { pause, SYSTEM_CLOCK, type Clock } from '../clock.ts';
import { encodeExchange, END_SESSION, GET_ATS, GET_UID, RF_COLLISION, RF_OFF, RF_ON, START_SESSION, TO_LAYER_3, TO_LAYER_4, type RfFrame } from './rc-s300-frames.ts';
import { OK, RcS300Link, SILENT_CARD } from './rc-s300-link.ts';
import type { UsbDevice } from './usb-device.ts';
import type { UsbPipe } from './usb-pipe.ts';
import { createRadioCard, createUsbReader, type Radio } from './usb-reader.ts';

export function createRcS300(device: UsbDevice, clock: Clock = SYSTEM_CLOCK): ReaderDriver {
  const product = device.productName ? ` (${device.productName})` : '';
  return createUsbReader({
    device,
    clock,
    readerName: `${device.manufacturerName ?? 'SONY'} RC-S300/${device.productId === 0x0dc9 ? 'P' : 'S'}${product}`,
    claimRefused: 'reader/in-use',
    createRadio: (pipe) => new RcS300Radio(pipe, clock),
  });
}

/** The reader's own time for one message, beside what it waits for a card. */
const ANSWER_LIMIT_MS = 1500;
const FAREWELL_LIMIT_MS = 300;
/** What an earlier user left unread comes at once. */
const QUIET_MS = 20;
/** A card needs 5 ms without a field to forget everything, and 5 ms with one to listen (ISO/IEC 14443-3, 5); the reader itself is slower. */
const RF_OFF_MS = 30;
const RF_ON_MS = 25;
const AFTER_LAYER_4_MS = 20;
/** A card answers a call within 0.1 ms. */
const OTHER_CARD_WAIT_MS = 5;
const REQA = Uint8Array.of(0x26);

class RcS300Radio implements Radio {
  readonly #pipe: UsbPipe;
  readonly #clock: Clock;
  readonly #link: RcS300Link;
  #isFieldOn = false;
  /** Its own activation does not tell the whole ATS: from then on we ask the card ourselves. */
  #asksForAts = false;
  /** The reader still has the bit count of a short frame. */
  #hasShortFraming = false;

  constructor(pipe: UsbPipe, clock: Clock) {
    this.#pipe = pipe;
    this.#clock = clock;
    this.#link = new RcS300Link(pipe, clock);
  }

  async begin(): Promise<void> {
    await this.#pipe.drain(QUIET_MS);
    // There need not be a session to end.
    await this.#link.call(END_SESSION, ANSWER_LIMIT_MS);
    await this.#link.command(START_SESSION, ANSWER_LIMIT_MS);
    await this.#fieldOff();
  }

  async farewell(pipe: UsbPipe): Promise<void> {
    const link = this.#link.over(pipe);
    await link.call(RF_OFF, FAREWELL_LIMIT_MS);
    await link.call(END_SESSION, FAREWELL_LIMIT_MS);
  }

  async findCard(): Promise<CardInField | undefined> {
    const uid = await this.#select();
    if (!uid) return undefined;
    try {
      const ats = await this.#activate();
      if (!ats) return undefined;
      await this.#refuseSeveral();
      return await createRadioCard({
        uid,
        ats,
        clock: this.#clock,
        exchange: (block, timeoutMs) => this.#exchange(block, timeoutMs),
        fieldOff: () => this.#fieldOff(),
      });
    } catch (reason) {
      // Whatever state the card is in, it begins anew; the first reason tells more than what may fail here.
      await this.#fieldOff().catch(() => undefined);
      throw reason;
    }
  }

  /** ISO/IEC 14443-3, done by the reader: the UID of one card; undefined: none is there. */
  async #select(): Promise<Bytes | undefined> {
    if (!this.#isFieldOn) {
      await this.#link.command(RF_ON, ANSWER_LIMIT_MS);
      this.#isFieldOn = true;
      await pause(this.#clock, RF_ON_MS);
    }
    const { status, rfErrors } = await this.#link.command(TO_LAYER_3, ANSWER_LIMIT_MS, true);
    this.#hasShortFraming = false; // A switch of protocol resets the framing.
    if ((rfErrors & RF_COLLISION) !== 0) throw new Failure('card/several');
    if (status !== OK) return undefined;
    const uid = await this.#link.call(GET_UID, ANSWER_LIMIT_MS);
    return uid.status === OK && [4, 7, 10].includes(uid.data.length) ? uid.data : undefined;
  }

  /** The selected card made ready for blocks; undefined: it has gone meanwhile. */
  async #activate(): Promise<Ats | undefined> {
    if (!this.#asksForAts) {
      const ats = await this.#activateByReader();
      if (ats) return ats;
      if (!(await this.#selectAnew())) return undefined;
    }
    const answer = await this.#exchange(RATS, ATS_WAIT_MS);
    if (typeof answer !== 'string') return parseAts(answer);
    if (answer === 'garbled') throw new Failure('card/silent', { detail: 'unreadable answer to RATS' });
    if (await this.#selectAnew()) throw new Failure('card/unsupported', { detail: 'no answer to RATS' });
    return undefined;
  }

  /** The reader sends RATS. Undefined: the card did not take it, or we are not told all that it answered. */
  async #activateByReader(): Promise<Ats | undefined> {
    const { status } = await this.#link.command(TO_LAYER_4, ANSWER_LIMIT_MS, true);
    if (status !== OK) return undefined;
    await pause(this.#clock, AFTER_LAYER_4_MS);
    const { status: atsStatus, data } = await this.#link.call(GET_ATS, ANSWER_LIMIT_MS);
    // TL counts itself: historical bytes alone do not begin so.
    if (atsStatus === OK && data.length > 0 && data[0] === data.length) return parseAts(data);
    this.#asksForAts = true;
    return undefined;
  }

  /** A card answers the first call of part 3 only while idle: its power is taken once. */
  async #selectAnew(): Promise<boolean> {
    await this.#fieldOff();
    return (await this.#select()) !== undefined;
  }

  /** The reader chooses one of several cards without a word; called once more, all but the chosen one answer. */
  async #refuseSeveral(): Promise<void> {
    const { status, rfErrors, response } = await this.#radio({ data: REQA, timeoutMs: OTHER_CARD_WAIT_MS, lastByteBits: 7, withCrc: false });
    this.#hasShortFraming = true;
    if ((rfErrors & RF_COLLISION) !== 0 || (status === OK && response?.length === 2)) throw new Failure('card/several');
  }

  async #exchange(data: Bytes, timeoutMs: number): Promise<BlockAnswer> {
    const frame = { data, timeoutMs, withCrc: true };
    const { status, rfErrors, response } = await this.#radio(this.#hasShortFraming ? { ...frame, lastByteBits: 0 } : frame);
    this.#hasShortFraming = false;
    if (status === SILENT_CARD) return 'timeout';
    if (status !== OK || rfErrors !== 0 || !response) return 'garbled';
    return response;
  }

  #radio(frame: RfFrame) {
    return this.#link.command(encodeExchange(frame), ANSWER_LIMIT_MS + frame.timeoutMs, true);
  }

  async #fieldOff(): Promise<void> {
    this.#isFieldOn = false;
    await this.#link.command(RF_OFF, ANSWER_LIMIT_MS);
    await pause(this.#clock, RF_OFF_MS);
  }
}
