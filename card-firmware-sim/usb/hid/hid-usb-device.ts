/** The USB side of a HID reader: one interface, interrupt IN and OUT on endpoint 1, class requests; the firmware above sees whole reports. */
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import { STALL } from '../usb-device.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { ContactlessField } from '../field.ts';
import type { TerminalPcdOptions } from './terminal-pcd.ts';
import type { UsbDescriptors, UsbDevice, UsbSetup } from '../usb-device.ts';

/** What every HID reader is made from. */
export interface HidReaderOptions extends TerminalPcdOptions {
  readonly field: ContactlessField;
  /** Default: the device's own. */
  readonly serialNumber?: string;
  readonly misbehave?: Partial<HidMisbehaviour>;
}

export interface HidIdentity {
  readonly vendorId: number;
  readonly productId: number;
  /** Major and minor as BCD, for example 0x0100. */
  readonly release: number;
  readonly manufacturer: string;
  readonly product: string;
  /** Chromium keeps a permission over unplugging only for a device with a product name and a serial number. */
  readonly serialNumber: string;
}

/** How the firmware speaks: 'answer' is what the host waits for (and what misbehaves), 'notify' what it says unasked. */
export interface HidOutlet {
  answer(reports: readonly Bytes[]): void;
  notify(reports: readonly Bytes[]): void;
}

export interface HidFirmware {
  /** One output report, with its id in front where the device has ids. Never throws. */
  receive(report: Bytes): void;
  /** Port reset, or the last user closed the device. */
  reset(): void;
}

/** What a HID reader does wrong on command; each count is used up, one for each answer. */
export interface HidMisbehaviour {
  /** Every answer comes so much later. */
  answerDelayMs: number;
  /** So many answers are never sent: the firmware hangs. */
  answersToLose: number;
  /** So many answers come after the one before them, which is sent once more. */
  staleAnswers: number;
  /** So many answers carry a wrong number: REF of MMS, command byte of ViVOtech2, SEQ of APDU over HID. */
  wrongNumbers: number;
  /** So many answers are broken: CRC of ViVOtech2, the MMS start byte, the length of APDU over HID. */
  brokenAnswers: number;
  /** Another program has the reader under way: what begins or uses a session is refused. */
  isTaken: boolean;
}

const GOOD_BEHAVIOUR: HidMisbehaviour = { answerDelayMs: 0, answersToLose: 0, staleAnswers: 0, wrongNumbers: 0, brokenAnswers: 0, isTaken: false };

/** Uses up one of a count; false at 0. */
export function takeOne(misbehave: HidMisbehaviour, count: 'answersToLose' | 'staleAnswers' | 'wrongNumbers' | 'brokenAnswers'): boolean {
  if (misbehave[count] <= 0) return false;
  misbehave[count]--;
  return true;
}

export const REPORT_BYTES = 64;
const ENDPOINT = 1;
/** HID 1.11, 7.2. */
const CLASS_REQUEST = { GET_IDLE: 0x02, SET_REPORT: 0x09, SET_IDLE: 0x0a } as const;
const OUTPUT_REPORT = 2;
const STANDARD_SET_INTERFACE = 0x0b;
/** A host that never reads: older reports are dropped, as a small device does. */
const MAX_WAITING_REPORTS = 512;
const NOTHING: Bytes = new Uint8Array();

export class HidUsbDevice implements UsbDevice {
  readonly descriptors: UsbDescriptors;
  /** May be changed while the device runs. */
  readonly misbehave: HidMisbehaviour;
  readonly #firmware: HidFirmware;
  #waiting: Bytes[] = [];
  #rest: Bytes = NOTHING;
  #reader: ((data: Bytes) => void) | undefined;
  #previous: readonly Bytes[] = [];
  /** Answers leave in order, however late. */
  #outlet: Promise<void> = Promise.resolve();
  #generation = 0;

  constructor(identity: HidIdentity, reportDescriptor: Bytes, options: HidReaderOptions, createFirmware: (outlet: HidOutlet, misbehave: HidMisbehaviour) => HidFirmware) {
    this.descriptors = describe({ ...identity, serialNumber: options.serialNumber ?? identity.serialNumber }, reportDescriptor);
    this.misbehave = { ...GOOD_BEHAVIOUR, ...options.misbehave };
    this.#firmware = createFirmware({ answer: (reports) => this.#answer(reports), notify: (reports) => this.#send(reports) }, this.misbehave);
  }

  transferOut(endpoint: number, data: Bytes): Promise<typeof STALL | undefined> {
    if (endpoint !== ENDPOINT) return Promise.resolve(STALL);
    this.#firmware.receive(data.slice());
    return Promise.resolve(undefined);
  }

  transferIn(endpoint: number, length: number, signal: AbortSignal): Promise<Bytes | typeof STALL> {
    if (endpoint !== ENDPOINT || this.#reader !== undefined) return Promise.resolve(STALL);
    return new Promise((resolve) => {
      const give = (data: Bytes): void => {
        signal.removeEventListener('abort', abort);
        this.#reader = undefined;
        this.#rest = data.slice(length);
        resolve(data.slice(0, length));
      };
      const abort = (): void => {
        this.#reader = undefined;
        resolve(NOTHING);
      };
      if (signal.aborted) {
        resolve(NOTHING);
        return;
      }
      const data = this.#rest.length > 0 ? this.#rest : this.#waiting.shift();
      if (data !== undefined) give(data);
      else {
        this.#reader = give;
        signal.addEventListener('abort', abort, { once: true });
      }
    });
  }

  control(setup: UsbSetup, data: Bytes): Promise<Bytes | typeof STALL> {
    const isClassOut = setup.requestType === 0x21;
    if (isClassOut && setup.request === CLASS_REQUEST.SET_REPORT && setup.value >> 8 === OUTPUT_REPORT) {
      this.#firmware.receive(data.slice());
      return Promise.resolve(NOTHING);
    }
    if (isClassOut && setup.request === CLASS_REQUEST.SET_IDLE) return Promise.resolve(NOTHING);
    if (setup.requestType === 0xa1 && setup.request === CLASS_REQUEST.GET_IDLE) return Promise.resolve(new Uint8Array([0]));
    if (setup.requestType === 0x01 && setup.request === STANDARD_SET_INTERFACE && setup.value === 0) return Promise.resolve(NOTHING);
    // No feature reports, no boot protocol, and input reports on the interrupt endpoint only.
    return Promise.resolve(STALL);
  }

  clearHalt(): void {
    // The endpoints of these devices never halt by themselves: nothing to undo.
  }

  reset(): void {
    this.#generation++;
    this.#waiting = [];
    this.#rest = NOTHING;
    this.#previous = [];
    this.#firmware.reset();
  }

  #answer(reports: readonly Bytes[]): void {
    const stale = takeOne(this.misbehave, 'staleAnswers') ? this.#previous : [];
    this.#previous = reports;
    if (takeOne(this.misbehave, 'answersToLose')) return;
    this.#send([...stale, ...reports]);
  }

  #send(reports: readonly Bytes[]): void {
    const generation = this.#generation;
    const delayMs = this.misbehave.answerDelayMs;
    this.#outlet = this.#outlet.then(async () => {
      if (delayMs > 0) await new Promise((resolve) => setTimeout(resolve, delayMs).unref());
      if (generation === this.#generation) for (const report of reports) this.#deliver(report);
    });
  }

  #deliver(report: Bytes): void {
    if (this.#reader !== undefined) this.#reader(report);
    else if (this.#waiting.push(report) > MAX_WAITING_REPORTS) this.#waiting.shift();
  }
}

/** USB 2.0, 9.6, and HID 1.11, 6.2.1: full speed, bus powered, one interface. */
function describe({ vendorId, productId, release, manufacturer, product, serialNumber }: HidIdentity, hidReport: Bytes): UsbDescriptors {
  const two = (value: number): Bytes => encodeUintLE(value, 2);
  const endpoint = (address: number): Bytes => new Uint8Array([7, 5, address, 3, REPORT_BYTES, 0, 1]);
  const parts = concatBytes(
    new Uint8Array([9, 4, 0, 0, 2, 3, 0, 0, 0]),
    new Uint8Array([9, 0x21, 0x11, 0x01, 0, 1, 0x22]), two(hidReport.length),
    endpoint(0x80 | ENDPOINT), endpoint(ENDPOINT),
  );
  return {
    device: concatBytes(new Uint8Array([18, 1, 0x00, 0x02, 0, 0, 0, REPORT_BYTES]), two(vendorId), two(productId), two(release), new Uint8Array([1, 2, 3, 1])),
    configuration: concatBytes(new Uint8Array([9, 2]), two(9 + parts.length), new Uint8Array([1, 1, 0, 0x80, 50]), parts),
    strings: [manufacturer, product, serialNumber],
    hidReport,
    speed: 2,
  };
}
