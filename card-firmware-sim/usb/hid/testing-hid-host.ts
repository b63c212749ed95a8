/** The host's end of a HID reader in tests: reports out, reports in, one read at a time; and a field with a card whose answers a test writes. */
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { ContactlessField } from '../field.ts';
import { EchoApplication } from '../testing-application.ts';
import { Picc } from '../picc.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { HidUsbDevice } from './hid-usb-device.ts';
import type { PiccOptions } from '../picc.ts';
import type { UsbDevice } from '../usb-device.ts';

const ENDPOINT = 1;
const REPORT_BYTES = 64;
const LIMIT_MS = 5_000;
/** So long nothing must come, where nothing is expected. */
const SILENCE_MS = 30;

export class TestingHidHost<Device extends UsbDevice = HidUsbDevice> {
  readonly device: Device;

  constructor(device: Device) {
    this.device = device;
  }

  /** One report, padded with zeros. */
  async send(report: Uint8Array | string): Promise<void> {
    const padded = new Uint8Array(REPORT_BYTES);
    padded.set(typeof report === 'string' ? hex(report) : report);
    await this.device.transferOut(ENDPOINT, padded);
  }

  async next(limitMs = LIMIT_MS): Promise<Bytes> {
    const report = await this.device.transferIn(ENDPOINT, REPORT_BYTES, AbortSignal.timeout(limitMs));
    if (typeof report === 'symbol') throw new Error(`the endpoint answered ${String(report)}`);
    if (report.length === 0) throw new Error(`no report within ${limitMs} ms`);
    return report;
  }

  /** The reports that wait, and those of the next moment. */
  async rest(): Promise<Bytes[]> {
    const reports: Bytes[] = [];
    for (;;) {
      const report = await this.device.transferIn(ENDPOINT, REPORT_BYTES, AbortSignal.timeout(SILENCE_MS));
      if (typeof report === 'symbol' || report.length === 0) return reports;
      reports.push(report);
    }
  }
}

export function hex(text: string): Bytes {
  return parseHex(text.replaceAll(/\s/g, ''));
}

/** Upper-case hex without the zeros that pad a report. */
export function trimmed(report: Bytes): string {
  return encodeHex(report).replace(/(00)+$/, '');
}

export const TESTING_UID = parseHex('04112233445566');

/** What the card heard, in hex beside bytes. */
export class TestingApplication extends EchoApplication {
  get heard(): string[] {
    return this.commands.map(encodeHex);
  }
}

/** A field with one such card on it. */
export function fieldWithCard(options: Omit<PiccOptions, 'application'> = {}): { field: ContactlessField; application: TestingApplication; card: Picc } {
  const application = new TestingApplication();
  const card = new Picc({ ...options, application });
  const field = new ContactlessField();
  field.put(card);
  return { field, application, card };
}
