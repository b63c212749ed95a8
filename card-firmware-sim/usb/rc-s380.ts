/** A Sony RC-S380 (NFC Port-100) on the bus: each command is acknowledged and then answered, in two transfers; and its bad days, by name. */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Bytes } from '#protocol/bytes.ts';
import { InEndpoint } from './bulk-endpoint.ts';
import type { InResult } from './bulk-endpoint.ts';
import type { ContactlessField } from './field.ts';
import { OutMessage } from './out-message.ts';
import { RcS380Firmware } from './rc-s380-firmware.ts';
import { ACK, encodeDataFrame, ERROR, MAX_FRAME_BYTES, parseFrame } from './rc-s380-frames.ts';
import { STALL } from './usb-device.ts';
import type { UNPLUGGED, UsbDescriptors, UsbDevice, UsbSetup } from './usb-device.ts';
import { encodeConfigurationDescriptor, encodeDeviceDescriptor } from './usb-descriptors.ts';

const PRODUCT_IDS = { 'RC-S380/S': 0x06c1, 'RC-S380/P': 0x06c3 } as const;

export interface RcS380Options {
  readonly field: ContactlessField;
  /** Default RC-S380/P. */
  readonly model?: keyof typeof PRODUCT_IDS;
  /** Default "0000001". */
  readonly serialNumber?: string;
  /** Whether an answer of a whole number of packets is followed by an empty one. Default true. */
  readonly zeroLengthPacket?: boolean;
  readonly misbehave?: Partial<RcS380Misbehaviour>;
}

/** May be changed at any time; numbers count down as they are used. */
export interface RcS380Misbehaviour {
  /** The next n commands are answered without an acknowledgement before. */
  missingAck: number;
  /** The next n replies have a wrong checksum. */
  checksum: number;
  /** Before the next n acknowledgements comes the last reply once more. */
  stale: number;
  /** The next n commands are refused with an error frame, and not carried out. */
  error: number;
  /** The next n replies are random bytes. */
  garbage: number;
  /** The next n commands are acknowledged and carried out, and their replies lost. */
  swallow: number;
  /** Each reply comes so much later. */
  slowMs: number;
}

const GOOD_BEHAVIOUR: RcS380Misbehaviour = { missingAck: 0, checksum: 0, stale: 0, error: 0, garbage: 0, swallow: 0, slowMs: 0 };
const ENDPOINT = { IN: 1, OUT: 2 } as const;
const PACKET_BYTES = 64;

export class RcS380 implements UsbDevice {
  readonly descriptors: UsbDescriptors;
  readonly misbehave: RcS380Misbehaviour;
  readonly #firmware: RcS380Firmware;
  readonly #out = new OutMessage(PACKET_BYTES, MAX_FRAME_BYTES);
  readonly #in: InEndpoint;
  #lastReply: Bytes | undefined;
  /** One command after the other: what was aborted ends before the next begins. */
  #work: Promise<void> = Promise.resolve();
  /** Of the command under way, or of the last. */
  #abort = new AbortController();

  constructor(options: RcS380Options) {
    const { model = 'RC-S380/P', serialNumber = '0000001' } = options;
    this.misbehave = { ...GOOD_BEHAVIOUR, ...options.misbehave };
    this.#in = new InEndpoint({ packetBytes: PACKET_BYTES, zeroLengthPacket: options.zeroLengthPacket ?? true });
    this.#firmware = new RcS380Firmware(options.field);
    this.descriptors = describe(model, serialNumber);
  }

  transferOut(endpoint: number, data: Bytes): Promise<undefined | typeof STALL | typeof UNPLUGGED> {
    if (endpoint !== ENDPOINT.OUT) return Promise.resolve(STALL);
    // The reader waits for a short packet: a frame of a whole number of packets needs an empty one after it.
    const frame = this.#out.push(data, () => false);
    if (frame !== undefined && frame.length > 0) this.#receive(frame);
    return Promise.resolve(undefined);
  }

  transferIn(endpoint: number, length: number, signal: AbortSignal): Promise<InResult> {
    return endpoint === ENDPOINT.IN ? this.#in.read(length, signal) : Promise.resolve(STALL);
  }

  control(setup: UsbSetup): Promise<Bytes | typeof STALL | typeof UNPLUGGED> {
    // SET_INTERFACE to the one setting there is; no class or vendor requests.
    return Promise.resolve(setup.requestType === 0x01 && setup.request === 0x0b && setup.value === 0 ? new Uint8Array() : STALL);
  }

  clearHalt(endpoint: number): void {
    if (endpoint === ENDPOINT.OUT) this.#out.clear();
    else this.#in.clearHalt();
  }

  reset(): void {
    this.#abort.abort();
    this.#out.clear();
    this.#in.clear();
    this.#in.clearHalt();
    this.#firmware.reset();
  }

  #receive(frame: Bytes): void {
    this.#abort.abort(); // an acknowledgement from the host, or another command, ends the one under way
    const payload = parseFrame(frame);
    if (payload === 'ack') return;
    if (payload === undefined || takeOne(this.misbehave, 'error')) return this.#in.push(ERROR);
    if (takeOne(this.misbehave, 'stale')) this.#in.push(this.#lastReply ?? encodeDataFrame(new Uint8Array([0xd7, 0x2b, 0x00])));
    if (!takeOne(this.misbehave, 'missingAck')) this.#in.push(ACK);
    const { signal } = (this.#abort = new AbortController());
    this.#work = this.#work.then(() => this.#carryOut(payload, signal));
  }

  async #carryOut(payload: Bytes, signal: AbortSignal): Promise<void> {
    const isAborted = () => signal.aborted;
    if (isAborted()) return;
    const reply = await this.#firmware.execute(payload, signal);
    if (this.misbehave.slowMs > 0) await delay(this.misbehave.slowMs);
    if (!isAborted()) this.#reply(reply === undefined ? ERROR : encodeDataFrame(reply));
  }

  #reply(reply: Bytes): void {
    this.#lastReply = reply;
    if (takeOne(this.misbehave, 'swallow')) return;
    const sent = takeOne(this.misbehave, 'garbage') ? new Uint8Array(randomBytes(reply.length)) : reply.slice();
    const sumAt = sent.length - 2;
    if (takeOne(this.misbehave, 'checksum')) sent[sumAt] = (sent[sumAt] ?? 0) ^ 0x01;
    this.#in.push(sent);
  }
}

function takeOne(misbehave: RcS380Misbehaviour, name: Exclude<keyof RcS380Misbehaviour, 'slowMs'>): boolean {
  if (misbehave[name] <= 0) return false;
  misbehave[name]--;
  return true;
}

function describe(model: keyof typeof PRODUCT_IDS, serialNumber: string): UsbDescriptors {
  const endpoints = [{ address: 0x81, attributes: 2, packetBytes: PACKET_BYTES }, { address: 0x02, attributes: 2, packetBytes: PACKET_BYTES }] as const;
  return {
    device: encodeDeviceDescriptor({ deviceClass: 0xff, vendorId: 0x054c, productId: PRODUCT_IDS[model], release: 0x0100, hasSerialNumber: serialNumber !== '' }),
    configuration: encodeConfigurationDescriptor([{ number: 0, triple: [0xff, 0, 0], endpoints }], 500),
    strings: ['SONY', model, ...(serialNumber === '' ? [] : [serialNumber])],
    speed: 2,
  };
}
