/** Devices that give back what they get, and a bare extension whose page the tests speak through: to test the emulation itself, not a reader. */
import { execFileSync } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium, type BrowserContext } from 'playwright';
import type { Bytes } from '#protocol/bytes.ts';
import { STALL, type UNPLUGGED, type UsbDescriptors, type UsbDevice } from '#card-firmware-sim/usb/usb-device.ts';
import { findBrowser, type BrowserLaunch } from './browser.ts';

const VENDOR_ID = 0x1209;
/** First byte of what the device refuses: after it in a bulk transfer the other direction is halted, and a feature report is not taken. */
export const STALL_NEXT = 0xee;
/** The vendor request of `UsbEcho` that answers, and one that it refuses. */
export const VENDOR_REQUEST = { identify: 1, refused: 9 } as const;
export const IDENTITY: readonly number[] = [0xde, 0xad, 0xbe, 0xef];
const NOTHING: Bytes = new Uint8Array();

type InResult = Bytes | typeof STALL | typeof UNPLUGGED;

/** What goes out comes in again, whole transfers in their order. */
class Echo {
  #ready: Bytes[] = [];
  #waiting: { length: number; resolve: (bytes: InResult) => void }[] = [];
  #halted = false;

  out(data: Bytes): void {
    if (data[0] === STALL_NEXT) this.#halted = true;
    else this.#ready.push(data.slice());
    this.#serve();
  }

  in(length: number, signal: AbortSignal): Promise<InResult> {
    return new Promise((resolve) => {
      const waiter = { length, resolve };
      this.#waiting.push(waiter);
      signal.addEventListener('abort', () => {
        this.#waiting = this.#waiting.filter((other) => other !== waiter);
        resolve(NOTHING);
      });
      this.#serve();
    });
  }

  clearHalt(): void {
    this.#halted = false;
  }

  reset(): void {
    this.#halted = false;
    this.#ready = [];
  }

  #serve(): void {
    for (let waiter = this.#waiting[0]; waiter !== undefined; waiter = this.#waiting[0]) {
      const data = this.#ready[0];
      if (!this.#halted && data === undefined) return;
      this.#waiting.shift();
      if (this.#halted || data === undefined) {
        waiter.resolve(STALL);
        continue;
      }
      this.#ready.shift();
      if (data.length > waiter.length) this.#ready.unshift(data.slice(waiter.length));
      waiter.resolve(data.slice(0, waiter.length));
    }
  }
}

/** Interface 0 of the vendor's class with bulk endpoints 1 in and 2 out; interface 1 says that it is a CCID; interface 2 is the vendor's again. */
export function usbEcho({ serialNumber = 'USB-1' }: { serialNumber?: string } = {}): UsbDevice & { resets: number } {
  const echo = new Echo();
  const device = {
    resets: 0,
    descriptors: {
      device: deviceDescriptor(0x0001),
      configuration: configurationOf(3, [
        interfaceDescriptor(0, 2, 0xff), endpointDescriptor(0x81, 2, 512), endpointDescriptor(0x02, 2, 512),
        interfaceDescriptor(1, 0, 0x0b),
        interfaceDescriptor(2, 0, 0xff),
      ]),
      strings: ['Kessai', 'Bulk Echo', serialNumber],
      speed: 3,
    } satisfies UsbDescriptors,
    transferOut: (_: number, data: Bytes) => {
      echo.out(data);
      return Promise.resolve(undefined);
    },
    transferIn: (_: number, length: number, signal: AbortSignal) => echo.in(length, signal),
    control: (setup: { readonly request: number; readonly requestType: number }) => {
      const isVendor = (setup.requestType & 0x60) === 0x40;
      if (!isVendor) return Promise.resolve(NOTHING);
      return Promise.resolve(setup.request === VENDOR_REQUEST.identify ? new Uint8Array(IDENTITY) : STALL);
    },
    clearHalt: () => echo.clearHalt(),
    reset: () => {
      device.resets++;
      echo.reset();
    },
  };
  return device;
}

/** `numbered`: reports 1 and 2 of 63 bytes and feature report 3 of 8; otherwise one report of 200 bytes, longer than a packet, and a feature report of 8. */
export function hidEcho({ numbered, serialNumber = 'HID-1', outEndpoint = true }: { numbered: boolean; serialNumber?: string; outEndpoint?: boolean }): UsbDevice {
  const echo = new Echo();
  const report = numbered
    ? hidReport([[0x85, 1, ...inAndOut(63)], [0x85, 2, ...inAndOut(63)], [0x85, 3, ...feature(8)]].flat())
    : hidReport([...inAndOut(200), ...feature(8)]);
  let feature3: Bytes = numbered ? new Uint8Array([3, 0, 0, 0, 0, 0, 0, 0, 0]) : new Uint8Array(8);
  return {
    descriptors: {
      device: deviceDescriptor(numbered ? 0x0003 : 0x0002),
      configuration: configurationOf(1, [
        interfaceDescriptor(0, outEndpoint ? 2 : 1, 0x03),
        [9, 0x21, 0x11, 0x01, 0, 1, 0x22, report.length & 0xff, report.length >> 8],
        endpointDescriptor(0x81, 3, 64), ...(outEndpoint ? [endpointDescriptor(0x02, 3, 64)] : []),
      ]),
      strings: ['Kessai', numbered ? 'Numbered Echo' : 'Report Echo', serialNumber],
      hidReport: report,
      speed: 3,
    },
    transferOut: (_, data) => {
      echo.out(data);
      return Promise.resolve(undefined);
    },
    transferIn: (_, length, signal) => echo.in(length, signal),
    control: (setup, data) => {
      // HID 1.11, 7.2: SET_REPORT and GET_REPORT; the report's type is the high byte of wValue.
      const kind = setup.value >> 8;
      if (setup.requestType === 0x21 && setup.request === 9 && kind === 2) echo.out(data);
      else if (setup.requestType === 0x21 && setup.request === 9 && kind === 3 && data[0] === STALL_NEXT) return Promise.resolve(STALL);
      else if (setup.requestType === 0x21 && setup.request === 9 && kind === 3) feature3 = data.slice();
      else if (setup.requestType === 0xa1 && setup.request === 1 && kind === 3) return Promise.resolve(feature3);
      else return Promise.resolve(STALL);
      return Promise.resolve(NOTHING);
    },
    clearHalt: () => echo.clearHalt(),
    reset: () => echo.reset(),
  };
}

function deviceDescriptor(productId: number): Bytes {
  return new Uint8Array([18, 1, 0x00, 0x02, 0, 0, 0, 64, VENDOR_ID & 0xff, VENDOR_ID >> 8, productId & 0xff, productId >> 8, 0x00, 0x01, 1, 2, 3, 1]);
}

function configurationOf(interfaceCount: number, parts: readonly (readonly number[])[]): Bytes {
  const body = parts.flat();
  const length = 9 + body.length;
  return new Uint8Array([9, 2, length & 0xff, length >> 8, interfaceCount, 1, 0, 0x80, 50, ...body]);
}

function interfaceDescriptor(number: number, endpoints: number, interfaceClass: number): readonly number[] {
  return [9, 4, number, 0, endpoints, interfaceClass, 0, 0, 0];
}

function endpointDescriptor(address: number, kind: 2 | 3, packetBytes: number): readonly number[] {
  return [7, 5, address, kind, packetBytes & 0xff, packetBytes >> 8, kind === 3 ? 4 : 0];
}

/** HID 1.11, 6.2.2: one collection of a vendor's page, fields of bytes. */
function hidReport(fields: readonly number[]): Bytes {
  return new Uint8Array([0x06, 0x00, 0xff, 0x09, 0x01, 0xa1, 0x01, 0x15, 0x00, 0x26, 0xff, 0x00, 0x75, 0x08, ...fields, 0xc0]);
}

function inAndOut(bytes: number): readonly number[] {
  return [0x95, bytes, 0x09, 0x01, 0x81, 0x02, 0x95, bytes, 0x09, 0x02, 0x91, 0x02];
}

function feature(bytes: number): readonly number[] {
  return [0x95, bytes, 0x09, 0x03, 0xb1, 0x02];
}

export interface BareExtension {
  readonly folder: string;
  readonly origin: string;
  readonly page: string;
}

/** An extension with one empty page; its key makes its id. */
export async function writeBareExtension(folder: string): Promise<BareExtension> {
  const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'der' });
  const id = [...createHash('sha256').update(key).digest().subarray(0, 16)].map((byte) => String.fromCharCode(97 + (byte >> 4), 97 + (byte & 15))).join('');
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, 'manifest.json'), JSON.stringify({ manifest_version: 3, name: 'devices', version: '1', key: key.toString('base64') }));
  await writeFile(join(folder, 'page.html'), '<!doctype html><title>devices</title>');
  const origin = `chrome-extension://${id}/`;
  return { folder, origin, page: `${origin}page.html` };
}

/** Null where this machine can run Chromium among emulated devices. */
export function whyNoEmulatedReaders(): string | null {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'this needs root on Linux';
  try {
    execFileSync('gcc', ['--version'], { stdio: 'ignore' });
    findBrowser();
    return null;
  } catch (reason) {
    return `this needs gcc and Chromium (npm run prepare-machine): ${String(reason)}`;
  }
}

/** Chromium with that extension alone, among emulated devices of which it is paired with some. */
export async function openBareBrowser(folder: string, extension: BareExtension, launch: BrowserLaunch): Promise<BrowserContext> {
  const profile = join(folder, 'profile');
  await launch.prepareProfile(profile, extension.origin);
  return chromium.launchPersistentContext(profile, {
    executablePath: await launch.wrapExecutable(findBrowser()),
    headless: true,
    args: ['--no-sandbox', '--disable-background-networking', `--load-extension=${extension.folder}`, `--disable-extensions-except=${extension.folder}`],
  });
}
