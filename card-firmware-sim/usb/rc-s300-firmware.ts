/** The commands of an RC-S300 as its firmware carries them out on a field: sessions, transparent exchange with its sticky settings, protocol switch, GET DATA. */
import { concatBytes, parseUintLE } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { withCrc, withoutCrc } from './air-frame.ts';
import type { ContactlessField } from './field.ts';
import { PcdIsoDep, requestAts, selectCard } from './pcd.ts';
import type { SelectedCard } from './pcd.ts';
import { encodeDataObject, encodeStatus, encodeSw, parseDataObjects, parsePseudoApdu, SW, TAG } from './rc-s300-frames.ts';
import type { DataObject, PseudoApdu } from './rc-s300-frames.ts';
import { atrOfAts, historicalBytes } from './iso-dep-parameters.ts';

export interface RcS300FirmwareOptions {
  readonly field: ContactlessField;
  readonly model: string;
  readonly serialNumber: string;
  /** What `FF CA 01 00` gives. */
  readonly ats: 'whole' | 'historical';
}

/** bit = 1: the reader does NOT. */
const LEAVE_OUT = { APPEND_CRC: 0x01, CHECK_CRC: 0x02, INSERT_PARITY: 0x04, EXPECT_PARITY: 0x08, PROLOGUE: 0x10 } as const;
const STANDARD = { TYPE_A: 0, FELICA: 3 } as const;
const VENDOR_PARAMETER = { FSDI: 1, CID: 8, SPEED: 5 } as const;
const RF_STATUS = { FINE: 0, CRC: 1, COLLISION: 2 } as const;
const DEFAULT_TIMER_US = 30_000;
/** What the reader's buffer for a frame holds. */
const MAX_FRAME_BYTES = 290;
const FIRMWARE_VERSION = new Uint8Array([1, 0]);

/** What one data object did: objects for the answer, or the SW that ends the command (with objects to explain it). */
interface Step {
  readonly sw: number;
  readonly answer?: Bytes;
}

const DONE: Step = { sw: SW.OK };

interface Activated extends SelectedCard {
  readonly ats: Bytes | undefined;
  readonly isoDep: PcdIsoDep | undefined;
}

export class RcS300Firmware {
  /** Another program owns the reader: sessions and exchanges are refused with 69 8A. */
  isClaimed = false;
  readonly #options: RcS300FirmwareOptions;
  readonly #field: ContactlessField;
  #isInSession = false;
  #protocol = { standard: 0, layer: 0 };
  #card: Activated | undefined;
  #flags = 0;
  #txBits = 0;
  #timerUs = DEFAULT_TIMER_US;
  #fsdi = 8;
  #cid = 0;
  /** FF 5C: survives sessions. */
  readonly #speeds = new Map<number, Bytes>();

  constructor(options: RcS300FirmwareOptions) {
    this.#options = options;
    this.#field = options.field;
  }

  reset(): void {
    this.#isInSession = false;
    this.#field.turnOff();
    this.#switched(0, 0);
    this.#timerUs = DEFAULT_TIMER_US;
    this.#fsdi = 8;
    this.#cid = 0;
  }

  /** The data of one Escape message to the data of its answer, SW last. */
  async execute(bytes: Bytes): Promise<Bytes> {
    const apdu = parsePseudoApdu(bytes);
    if (typeof apdu === 'number') return encodeSw(apdu);
    const answer = apdu.ins === 0x50 ? await this.#partThree(apdu) : this.#plain(apdu);
    return typeof answer === 'number' ? encodeSw(answer) : concatBytes(answer, encodeSw(SW.OK));
  }

  /** PC/SC part 3: data objects one after the other, up to the first that fails; the outer SW is 9000 all the same. */
  async #partThree({ p1, p2, data }: PseudoApdu): Promise<Bytes | number> {
    const commands: readonly ((object: DataObject) => Step | Promise<Step>)[] = [
      (object) => this.#manage(object), (object) => this.#exchange(object), (object) => this.#switch(object),
    ];
    const run = p1 === 0 ? commands[p2] : undefined;
    if (run === undefined) return SW.BAD_PARAMETERS;
    if (this.isClaimed) return encodeStatus(0, SW.ACCESS_NOT_GRANTED);
    const { objects, cut } = parseDataObjects(data);
    let answer: Bytes = new Uint8Array();
    for (const [i, object] of objects.entries()) {
      const step = await run(object);
      answer = concatBytes(answer, step.answer ?? new Uint8Array());
      if (step.sw !== SW.OK) return concatBytes(encodeStatus(i + 1, step.sw), answer);
    }
    if (cut) return encodeStatus(objects.length + 1, SW.WRONG_LENGTH);
    return concatBytes(encodeStatus(0, SW.OK), answer);
  }

  #manage({ tag, value }: DataObject): Step {
    if (tag === TAG.VENDOR) return this.#setVendorParameter(value);
    if (tag === TAG.TIMER) return this.#setTimer(value);
    if (value.length !== 0) return { sw: isManaged(tag) ? SW.WRONG_LENGTH : SW.NOT_SUPPORTED };
    switch (tag) {
      case TAG.VERSION:
        return { sw: SW.OK, answer: encodeDataObject(TAG.VERSION, new Uint8Array([1, 0, 0])) };
      case TAG.START:
        this.#isInSession = true;
        return DONE;
      case TAG.END:
        if (!this.#isInSession) return { sw: SW.STOPPED };
        this.#isInSession = false;
        return DONE;
      case TAG.RF_OFF:
      case TAG.RF_ON:
        if (!this.#isInSession) return { sw: SW.NOT_SATISFIED };
        if (tag === TAG.RF_ON) this.#field.turnOn();
        else this.#field.turnOff();
        this.#card = undefined;
        return DONE;
      default:
        return { sw: SW.NOT_SUPPORTED };
    }
  }

  async #exchange({ tag, value }: DataObject): Promise<Step> {
    if (!this.#isInSession) return { sw: SW.NOT_SATISFIED };
    switch (tag) {
      case TAG.TIMER:
        return this.#setTimer(value);
      case TAG.FLAGS:
        if (value.length !== 2) return { sw: SW.WRONG_LENGTH };
        if (value[0] !== 0 || (value[1] ?? 0) > 0x1f) return { sw: SW.BAD_VALUE };
        this.#flags = value[1] ?? 0;
        return DONE;
      case TAG.TX_BITS:
      case TAG.RX_BITS:
        if (value.length !== 1) return { sw: SW.WRONG_LENGTH };
        if ((value[0] ?? 0) > 7) return { sw: SW.BAD_VALUE };
        // Answers come as they are: reception framing shifts bits only for partial anticollision, which this reader's firmware does itself.
        if (tag === TAG.TX_BITS) this.#txBits = value[0] ?? 0;
        return DONE;
      case TAG.TRANSMIT:
      case TAG.TRANSCEIVE:
        if (value.length === 0 || value.length > MAX_FRAME_BYTES) return { sw: SW.WRONG_LENGTH };
        if (!this.#field.isOn) return { sw: SW.NO_READER_ANSWER };
        return tag === TAG.TRANSCEIVE ? this.#transceive(value) : this.#transceive(value).then(() => DONE);
      case TAG.RECEIVE:
        return { sw: SW.NO_CARD_ANSWER };
      default:
        return { sw: SW.NOT_SUPPORTED };
    }
  }

  async #transceive(data: Bytes): Promise<Step> {
    const timeoutMs = this.#timerUs / 1_000;
    const isSilent = this.#protocol.standard !== STANDARD.TYPE_A || (this.#flags & (LEAVE_OUT.INSERT_PARITY | LEAVE_OUT.EXPECT_PARITY)) !== 0;
    const isoDep = this.#card?.isoDep;
    if (!isSilent && isoDep !== undefined && (this.#flags & LEAVE_OUT.PROLOGUE) === 0) {
      const answer = await isoDep.transceive(data, timeoutMs);
      return answer === 'silent' ? { sw: SW.NO_CARD_ANSWER } : received(RF_STATUS.FINE, 0, answer);
    }
    const bytes = (this.#flags & LEAVE_OUT.APPEND_CRC) === 0 ? withCrc(data) : data;
    // No card here hears anything but type A at 106 kbit/s with parity: the frame goes out, and the time passes.
    const frame = isSilent ? { bytes: new Uint8Array(), lastBits: 8 } : { bytes, lastBits: this.#txBits === 0 ? 8 : this.#txBits };
    const answer = await this.#field.exchange(frame, timeoutMs);
    if (answer.kind === 'silence') return { sw: SW.NO_CARD_ANSWER };
    const bits = answer.frame.lastBits % 8;
    if (answer.kind === 'collision') return received(RF_STATUS.COLLISION, bits, answer.frame.bytes);
    if ((this.#flags & LEAVE_OUT.CHECK_CRC) !== 0) return received(RF_STATUS.FINE, bits, answer.frame.bytes);
    const body = withoutCrc(answer.frame);
    return body === undefined ? received(RF_STATUS.CRC, bits, undefined) : received(RF_STATUS.FINE, 0, body);
  }

  async #switch({ tag, value }: DataObject): Promise<Step> {
    if (tag === TAG.VENDOR) return this.#setVendorParameter(value);
    if (tag === TAG.TIMER) return this.#setTimer(value);
    if (tag !== TAG.PROTOCOL) return { sw: SW.NOT_SUPPORTED };
    if (!this.#isInSession) return { sw: SW.NOT_SATISFIED };
    const [standard, layer] = value;
    if (standard === undefined || layer === undefined || value.length !== 2) return { sw: SW.WRONG_LENGTH };
    if (standard > STANDARD.FELICA || ![0, 2, 3, 4].includes(layer)) return { sw: SW.BAD_VALUE };
    this.#switched(standard, layer);
    if (layer < 3) return DONE;
    if (!this.#field.isOn) return { sw: SW.NO_READER_ANSWER };
    return standard === STANDARD.TYPE_A ? this.#activate(layer) : { sw: SW.NO_CARD_ANSWER };
  }

  async #activate(layer: number): Promise<Step> {
    const selected = await selectCard(this.#field);
    if (selected === 'several') return { sw: SW.NO_CARD_ANSWER, answer: encodeDataObject(TAG.RF_STATUS, new Uint8Array([RF_STATUS.COLLISION, 0])) };
    if (typeof selected === 'string') return { sw: SW.NO_CARD_ANSWER };
    this.#card = { ...selected, ats: undefined, isoDep: undefined };
    if (layer === 3) return DONE;
    const ats = await requestAts(this.#field, this.#fsdi, this.#cid);
    if (ats === undefined) return { sw: SW.NO_CARD_ANSWER };
    this.#card = { ...selected, ats, isoDep: new PcdIsoDep(this.#field, ats) };
    return { sw: SW.OK, answer: concatBytes(encodeDataObject(TAG.PROTOCOL, new Uint8Array([layer])), encodeDataObject(TAG.ATR, atrOfAts(ats))) };
  }

  /** A switch sets flags and bit framing back. */
  #switched(standard: number, layer: number): void {
    this.#protocol = { standard, layer };
    this.#card = undefined;
    this.#flags = 0;
    this.#txBits = 0;
  }

  #setTimer(value: Bytes): Step {
    if (value.length !== 4) return { sw: SW.WRONG_LENGTH };
    this.#timerUs = parseUintLE(value);
    return DONE;
  }

  /** `id 01 value`. */
  #setVendorParameter(value: Bytes): Step {
    const [id, length, parameter] = value;
    if (value.length !== 3 || length !== 1 || parameter === undefined) return { sw: SW.WRONG_LENGTH };
    if (id === VENDOR_PARAMETER.FSDI && parameter <= 8) this.#fsdi = parameter;
    else if (id === VENDOR_PARAMETER.CID && parameter <= 14) this.#cid = parameter;
    // The field has one speed: 0 both ways.
    else if (id !== VENDOR_PARAMETER.SPEED || parameter !== 0) return { sw: SW.BAD_VALUE };
    return DONE;
  }

  #plain({ ins, p1, p2, data }: PseudoApdu): Bytes | number {
    if (p2 !== 0) return SW.BAD_PARAMETERS;
    switch (ins) {
      case 0xca:
        return data.length === 0 ? this.#getData(p1) : SW.WRONG_LENGTH;
      case 0x56:
        return p1 === 0 ? FIRMWARE_VERSION : SW.BAD_PARAMETERS;
      case 0x5f:
        return this.#identify(p1);
      case 0x55:
        if (data.length !== 2) return SW.WRONG_LENGTH;
        this.reset();
        return new Uint8Array();
      case 0x57:
        return new Uint8Array();
      case 0x5a:
        return data.length === 1 ? new Uint8Array() : SW.WRONG_LENGTH;
      case 0x5c:
        if (data.length !== 3) return SW.WRONG_LENGTH;
        this.#speeds.set(data[0] ?? 0, data.slice(1));
        return new Uint8Array();
      case 0x5d:
        return data.length === 1 ? (this.#speeds.get(data[0] ?? 0) ?? new Uint8Array([1, 1])) : SW.WRONG_LENGTH;
      default:
        return SW.NO_SUCH_INS;
    }
  }

  /** 6F 00 without a card, as a real reader says. */
  #getData(p1: number): Bytes | number {
    const card = this.#card;
    if (card === undefined) return SW.UNSPECIFIED;
    if (p1 === 0x00) return card.uid;
    if (p1 === 0xf2) return new Uint8Array([1]);
    if (p1 !== 0x01) return SW.BAD_PARAMETERS;
    if (card.ats === undefined) return SW.UNSPECIFIED;
    return this.#options.ats === 'whole' ? card.ats : historicalBytes(card.ats);
  }

  #identify(what: number): Bytes | number {
    const text = (value: string): Bytes => new TextEncoder().encode(value);
    switch (what) {
      case 0x01:
        return new Uint8Array([1, 0]);
      case 0x02:
        return text(this.#options.model);
      case 0x03:
        return text(this.#options.serialNumber);
      case 0x08:
        return new Uint8Array([0]);
      default:
        return SW.BAD_PARAMETERS;
    }
  }
}

function isManaged(tag: number): boolean {
  return tag >= TAG.VERSION && tag <= TAG.RF_ON;
}

function received(status: number, bits: number, data: Bytes | undefined): Step {
  const answer = concatBytes(
    encodeDataObject(TAG.RX_BITS, new Uint8Array([bits])), encodeDataObject(TAG.RF_STATUS, new Uint8Array([status, 0])),
    data === undefined ? new Uint8Array() : encodeDataObject(TAG.RESPONSE, data));
  return { sw: SW.OK, answer };
}
