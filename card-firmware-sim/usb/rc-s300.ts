/** A Sony RC-S300 (NFC Port-400) on the bus: CCID Escape messages on its vendor interface, answered by its firmware; and its bad days, by name. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { InEndpoint } from './bulk-endpoint.ts';
import type { InResult } from './bulk-endpoint.ts';
import type { ContactlessField } from './field.ts';
import { OutMessage } from './out-message.ts';
import { RcS300Firmware } from './rc-s300-firmware.ts';
import { CCID_HEADER_BYTES, COMMAND_STATUS, encodeEscapeAnswer, ESCAPE, MAX_CCID_BYTES, parseCcidMessage, SLOT_ERROR } from './rc-s300-frames.ts';
import type { CcidMessage } from './rc-s300-frames.ts';
import { STALL } from './usb-device.ts';
import type { UNPLUGGED, UsbDescriptors, UsbDevice, UsbSetup } from './usb-device.ts';
import { encodeConfigurationDescriptor, encodeDeviceDescriptor } from './usb-descriptors.ts';

const PRODUCT_IDS = { 'RC-S300/S': 0x0dc8, 'RC-S300/P': 0x0dc9, 'RC-S660/U': 0x0d8f } as const;

export interface RcS300Options {
  readonly field: ContactlessField;
  /** Default RC-S300/P. */
  readonly model?: keyof typeof PRODUCT_IDS;
  /** Default "0000001". */
  readonly serialNumber?: string;
  /** Interface 0 of class 0B beside the vendor's, as on the real one. It answers nothing here. Default true. */
  readonly ccidInterface?: boolean;
  /** What `FF CA 01 00` gives; sources disagree. Default: the whole ATS. */
  readonly ats?: 'whole' | 'historical';
  /** Whether an answer of a whole number of packets is followed by an empty one. Default true. */
  readonly zeroLengthPacket?: boolean;
  readonly misbehave?: Partial<RcS300Misbehaviour>;
}

/** May be changed at any time; numbers count down as they are used. */
export interface RcS300Misbehaviour {
  /** The next n commands are refused as "slot busy", and not carried out. */
  busy: number;
  /** Another program owns the reader: 69 8A. */
  claimed: boolean;
  /** Before the next n answers comes the last one once more, with its old sequence number. */
  stale: number;
  /** The next n answers carry another sequence number, and no right one follows. */
  wrongSequence: number;
  /** So many time extensions come before the next answer. */
  timeExtensions: number;
  /** Header and body of each answer as two transfers. */
  split: boolean;
  /** Each answer comes so much later. */
  slowMs: number;
  /** The next n answers are random bytes. */
  garbage: number;
  /** The next n commands are carried out, and their answers lost. */
  swallow: number;
}

const GOOD_BEHAVIOUR: RcS300Misbehaviour = {
  busy: 0, claimed: false, stale: 0, wrongSequence: 0, timeExtensions: 0, split: false, slowMs: 0, garbage: 0, swallow: 0,
};
const ENDPOINT = 2;
const PACKET_BYTES = 64;
/** Short and extended APDUs, T=1, IFSD 254, messages of 522 bytes, one slot (CCID 1.1, 5.1). */
const CCID_DESCRIPTOR = parseHex('3621100100070200000000120000001200000000D4030000D4030000FE00000000000000000000007E0004000A020000FFFF00000001');

export class RcS300 implements UsbDevice {
  readonly descriptors: UsbDescriptors;
  readonly misbehave: RcS300Misbehaviour;
  readonly #firmware: RcS300Firmware;
  readonly #out = new OutMessage(PACKET_BYTES, MAX_CCID_BYTES);
  readonly #in: InEndpoint;
  #isOutHalted = false;
  #isBusy = false;
  #lastAnswer: Bytes | undefined;
  /** Counts resets: what was under way before one is not answered after it. */
  #epoch = 0;

  constructor(options: RcS300Options) {
    const { model = 'RC-S300/P', serialNumber = '0000001', ccidInterface = true } = options;
    this.misbehave = { ...GOOD_BEHAVIOUR, ...options.misbehave };
    this.#in = new InEndpoint({ packetBytes: PACKET_BYTES, zeroLengthPacket: options.zeroLengthPacket ?? true });
    this.#firmware = new RcS300Firmware({ field: options.field, model, serialNumber, ats: options.ats ?? 'whole' });
    this.descriptors = describe(PRODUCT_IDS[model], serialNumber, ccidInterface);
  }

  transferOut(endpoint: number, data: Bytes): Promise<undefined | typeof STALL | typeof UNPLUGGED> {
    if (endpoint !== ENDPOINT || this.#isOutHalted) return Promise.resolve(STALL);
    const message = this.#out.push(data, (soFar) => soFar.length >= CCID_HEADER_BYTES && soFar.length >= CCID_HEADER_BYTES + parseCcidMessage(soFar).length);
    if (message !== undefined && message.length > 0) this.#receive(message);
    return Promise.resolve(undefined);
  }

  transferIn(endpoint: number, length: number, signal: AbortSignal): Promise<InResult> {
    return endpoint === ENDPOINT ? this.#in.read(length, signal) : Promise.resolve(STALL);
  }

  control(setup: UsbSetup): Promise<Bytes | typeof STALL | typeof UNPLUGGED> {
    // SET_INTERFACE to the one setting there is; no class or vendor requests.
    return Promise.resolve(setup.requestType === 0x01 && setup.request === 0x0b && setup.value === 0 ? new Uint8Array() : STALL);
  }

  clearHalt(endpoint: number): void {
    if (endpoint === ENDPOINT) this.#isOutHalted = false;
    else this.#in.clearHalt();
    this.#out.clear();
  }

  reset(): void {
    this.#epoch++;
    this.#isBusy = false;
    this.#isOutHalted = false;
    this.#out.clear();
    this.#in.clear();
    this.#in.clearHalt();
    this.#firmware.reset();
  }

  #receive(message: Bytes): void {
    // Not even a header: there is no sequence number to answer to.
    if (message.length < CCID_HEADER_BYTES) {
      this.#isOutHalted = true;
      return;
    }
    const parsed = parseCcidMessage(message);
    const error = slotError(parsed, message.length);
    if (error !== undefined) return this.#refuse(parsed.sequence, error);
    if (this.#isBusy || takeOne(this.misbehave, 'busy')) return this.#refuse(parsed.sequence, SLOT_ERROR.BUSY);
    void this.#carryOut(parsed);
  }

  async #carryOut({ sequence, data }: CcidMessage): Promise<void> {
    const epoch = this.#epoch;
    this.#isBusy = true;
    this.#firmware.isClaimed = this.misbehave.claimed;
    const answer = await this.#firmware.execute(data);
    if (this.misbehave.slowMs > 0) await delay(this.misbehave.slowMs);
    if (epoch !== this.#epoch) return;
    this.#isBusy = false;
    this.#answer(sequence, answer);
  }

  #refuse(sequence: number, error: number): void {
    this.#in.push(encodeEscapeAnswer(sequence, COMMAND_STATUS.FAILED, error, new Uint8Array()));
  }

  #answer(sequence: number, data: Bytes): void {
    const { misbehave } = this;
    const before = this.#lastAnswer;
    const shown = takeOne(misbehave, 'wrongSequence') ? (sequence + 0x55) & 0xff : sequence;
    const answer = encodeEscapeAnswer(shown, COMMAND_STATUS.OK, SLOT_ERROR.NONE, data);
    this.#lastAnswer = answer;
    if (takeOne(misbehave, 'swallow')) return;
    if (takeOne(misbehave, 'stale')) this.#in.push(before ?? encodeEscapeAnswer((sequence + 0xff) & 0xff, COMMAND_STATUS.OK, SLOT_ERROR.NONE, new Uint8Array([0x90, 0])));
    while (takeOne(misbehave, 'timeExtensions')) this.#in.push(encodeEscapeAnswer(sequence, COMMAND_STATUS.TIME_EXTENSION, SLOT_ERROR.NONE, new Uint8Array()));
    if (takeOne(misbehave, 'garbage')) return this.#in.push(new Uint8Array(randomBytes(answer.length)));
    if (!misbehave.split) return this.#in.push(answer);
    this.#in.push(answer.slice(0, CCID_HEADER_BYTES));
    this.#in.push(answer.slice(CCID_HEADER_BYTES));
  }
}

function takeOne(misbehave: RcS300Misbehaviour, name: 'busy' | 'stale' | 'wrongSequence' | 'timeExtensions' | 'garbage' | 'swallow'): boolean {
  if (misbehave[name] <= 0) return false;
  misbehave[name]--;
  return true;
}

function slotError(message: CcidMessage, received: number): number | undefined {
  if (message.length !== received - CCID_HEADER_BYTES || received > MAX_CCID_BYTES) return SLOT_ERROR.BAD_LENGTH;
  if (message.type !== ESCAPE) return SLOT_ERROR.NONE; // "command not supported" (CCID 1.1, table 6.2-2)
  if (message.slot !== 0) return SLOT_ERROR.NO_SUCH_SLOT;
  return message.reserved === 0 ? undefined : SLOT_ERROR.RESERVED_SET;
}

function describe(productId: number, serialNumber: string, ccidInterface: boolean): UsbDescriptors {
  const vendor = {
    number: 1, triple: [0xff, 0, 0],
    endpoints: [{ address: 0x02, attributes: 2, packetBytes: PACKET_BYTES }, { address: 0x82, attributes: 2, packetBytes: PACKET_BYTES }],
  } as const;
  const ccid = {
    number: 0, triple: [0x0b, 0, 0], extra: CCID_DESCRIPTOR,
    endpoints: [
      { address: 0x01, attributes: 2, packetBytes: PACKET_BYTES }, { address: 0x81, attributes: 2, packetBytes: PACKET_BYTES },
      { address: 0x83, attributes: 3, packetBytes: 8 },
    ],
  } as const;
  return {
    device: encodeDeviceDescriptor({ deviceClass: 0, vendorId: 0x054c, productId, release: 0x0100, hasSerialNumber: serialNumber !== '' }),
    configuration: encodeConfigurationDescriptor(ccidInterface ? [ccid, vendor] : [vendor], 500),
    strings: ['SONY', 'FeliCa Port/PaSoRi 4.0', ...(serialNumber === '' ? [] : [serialNumber])],
    speed: 2,
  };
}
