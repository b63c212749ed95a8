/** Our emulated readers behind a real kernel's vhci-hcd: what the kernel reads of each, and what an unmodified Chromium does with it and the card on it. */
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderSource, ReaderState } from '#bridge/reader-source.ts';
import { chipApplication } from '#card-firmware-sim/chip-application.ts';
import { Chip } from '#card-firmware-sim/chip.ts';
import { VolatileCardMemory } from '#card-firmware-sim/card-memory.ts';
import { secureRandom } from '#card-firmware-sim/crypto.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { createEmulatedReader, type DeviceKind, type EmulatedReader } from '#card-firmware-sim/usb/device-kinds.ts';
import { Picc } from '#card-firmware-sim/usb/picc.ts';
import { startUsbIpServer, type UsbIpServer } from '#card-firmware-sim/usb/usbip-server.ts';
import { wrapNative, type CardCommand } from '#protocol/apdu.ts';
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import { asFailure } from '#protocol/failure.ts';
import { freePort, planGuestBrowser, startGuestBrowser } from './usb-kernel-browser.ts';
import { bootKernelGuest, HOST_IN_GUEST, type KernelGuest } from './usb-kernel-guest.ts';
import { describeDevice, hex, hidInterfaceOf } from './usb-descriptors.ts';

export interface KernelStep {
  readonly device: DeviceKind;
  /** What was to be seen. */
  readonly step: string;
  /** What was seen, or how it failed. */
  readonly seen: string;
  readonly passed: boolean;
  readonly ms: number;
}

export interface KernelReport {
  readonly kernel: string;
  readonly browser: string;
  readonly steps: readonly KernelStep[];
}

export interface KernelOptions {
  /** The kernel is kept there. */
  readonly folder: string;
  readonly kinds: readonly DeviceKind[];
  readonly accelerator: 'tcg' | 'kvm';
  readonly log: (line: string) => void;
  readonly onStep: (step: KernelStep) => void;
}

const STATE_LIMIT_MS = 60_000;
/** The kernel's own driver for it. */
const RC_S380_DRIVER = 'port100';
/** How long the kernel may take for what it makes of a device. */
const ENUMERATION_S = 30;
/** GetVersion's three frames, the last with the UID (DESFire Light data sheet, 11.4.2), and the version of a key. */
const BATCH: readonly CardCommand[] = [
  { apdu: wrapNative(0x60, new Uint8Array()), expectedStatus: 0x91af },
  { apdu: wrapNative(0xaf, new Uint8Array()), expectedStatus: 0x91af },
  { apdu: wrapNative(0xaf, new Uint8Array()), expectedStatus: 0x9100 },
  { apdu: wrapNative(0x64, new Uint8Array([1])), expectedStatus: 0x9100 },
];
const never = new AbortController().signal;

/** Throws where guest or browser do not come up; a step that fails ends its reader's and is in the report. */
export async function checkInKernel({ folder, kinds, accelerator, log, onStep }: KernelOptions): Promise<KernelReport> {
  const trials = kinds.map((kind, i) => createTrial(kind, `1-${i + 1}`));
  const forwardedPort = await freePort();
  const plan = await planGuestBrowser(folder, trials.map(({ reader }) => reader.device.descriptors));
  const server = await startUsbIpServer();
  try {
    const guest = await bootKernelGuest({ folder, accelerator, forwardedPort, log });
    try {
      log('starting Chromium in the guest');
      const browser = await startGuestBrowser(guest, plan, forwardedPort);
      const steps: KernelStep[] = [];
      for (const trial of trials) {
        log(trial.reader.kind);
        for await (const step of new ReaderTrial(trial, server, guest, browser.source).run()) {
          steps.push(step);
          onStep(step);
        }
      }
      await browser.close();
      return { kernel: guest.release, browser: browser.version, steps };
    } finally {
      await guest.close();
    }
  } finally {
    await server.close();
  }
}

interface Trial {
  readonly reader: EmulatedReader;
  readonly card: Picc;
  readonly uid: Bytes;
  readonly busId: string;
  /** In hex, as they reached the chip. */
  readonly commands: string[];
}

function createTrial(kind: DeviceKind, busId: string): Trial {
  const application = chipApplication(new Chip({ memory: new VolatileCardMemory(createFactoryImage({ random: secureRandom })) }));
  const commands: string[] = [];
  const card = new Picc({
    application: {
      ...application,
      process: (command) => {
        commands.push(encodeHex(command));
        return application.process(command);
      },
    },
  });
  return { reader: createEmulatedReader(kind), card, uid: application.uid, busId, commands };
}

class ReaderTrial {
  readonly #trial: Trial;
  readonly #server: UsbIpServer;
  readonly #guest: KernelGuest;
  readonly #source: ReaderSource;
  #channel: CardChannel | undefined;

  constructor(trial: Trial, server: UsbIpServer, guest: KernelGuest, source: ReaderSource) {
    this.#trial = trial;
    this.#server = server;
    this.#guest = guest;
    this.#source = source;
  }

  async *run(): AsyncGenerator<KernelStep> {
    const { reader: { kind, field }, card } = this.#trial;
    field.put(card);
    const steps: readonly (readonly [string, () => Promise<string>])[] = [
      ['the kernel reads its descriptors and strings', () => this.#enumerate()],
      ['the kernel gives each interface to the right driver', () => this.#drivers()],
      ['Chromium finds it, with the card on it', () => this.#find()],
      ['a batch of commands goes to the chip once and comes back', () => this.#exchange()],
      ['a card that is lifted fails the next batch', () => this.#lift()],
      ['the card is found again', () => this.#putBack()],
      ['pulled out, it is gone for kernel and browser', () => this.#pullOut()],
      ['plugged in again, it works as before', () => this.#plugAgain()],
    ];
    try {
      for (const [step, act] of steps) {
        const startedAt = performance.now();
        const told = await act().then((seen) => ({ seen, passed: true }), (error: unknown) => ({ seen: describe(error), passed: false }));
        yield { device: kind, step, ...told, ms: Math.round(performance.now() - startedAt) };
        if (!told.passed) return;
      }
    } finally {
      this.#server.unplug(this.#trial.busId);
      await this.#until(undefined).catch(() => undefined); // the step that failed has told why
    }
  }

  /** Answers once udev is done with it. */
  async #plug(): Promise<void> {
    const { busId, reader: { device } } = this.#trial;
    this.#server.plug(busId, device);
    await this.#guest.run(`usbip --tcp-port ${this.#server.port} attach -r ${HOST_IN_GUEST} -b ${busId}`);
    await this.#guest.run(waitFor(this.#listed, `cd "$(dirname "$(${this.#listed})")" && udevadm settle`));
  }

  async #enumerate(): Promise<string> {
    const { kind, device: { descriptors } } = this.#trial.reader;
    // There before the device, as on a machine that has seen one: whether udev or the browser is quicker would be chance.
    if (kind === 'rc-s380') await this.#guest.run(`modprobe ${RC_S380_DRIVER}`);
    await this.#plug();
    const described = describeDevice(descriptors);
    equal('descriptors', await this.#read('od -An -v -tx1 descriptors | tr -d " \\n"'), hexOf(descriptors.device) + hexOf(descriptors.configuration));
    const said = [described.manufacturer, described.product, described.serialNumber].join('|');
    equal('strings', await this.#read('cat manufacturer product serial | paste -sd "|"'), said);
    equal('speed', await this.#read('cat speed'), descriptors.speed === 2 ? '12' : '480');
    return `${hex(described.vendorId, 4)}:${hex(described.productId, 4)} ${said.replaceAll('|', ' ')}, ${descriptors.device.length + descriptors.configuration.length} bytes of descriptors`;
  }

  /** HID: hidraw has the report descriptor. RC-S380: the kernel has a driver for it, which the doctor says to keep away. Others: free for the browser, which may hold it already. */
  async #drivers(): Promise<string> {
    const { kind, device: { descriptors } } = this.#trial.reader;
    const hid = hidInterfaceOf(describeDevice(descriptors)) !== null;
    const expected = hid ? 'usbhid' : kind === 'rc-s380' ? RC_S380_DRIVER : '';
    const seen = 'for i in *:*; do basename "$(readlink $i/driver)"; done | sed "/^$/d; /^usbfs$/d" | paste -sd " "';
    equal('drivers', await this.#read(expected === '' ? seen : waitFor(`[ "$(${seen})" = ${expected} ]`, seen)), expected);
    if (hid) {
      const report = hexOf(descriptors.hidReport ?? new Uint8Array());
      const node = await this.#read(waitFor('[ -e *:1.0/*/hidraw/hidraw* ]', 'ls *:1.0/*/hidraw'));
      equal('report descriptor', await this.#read('od -An -v -tx1 *:1.0/*/report_descriptor | tr -d " \\n"'), report);
      return `usbhid, ${node} with our report descriptor, ${report.length / 2} bytes`;
    }
    if (kind !== 'rc-s380') return 'none but usbfs, as there is none for it';
    const words = await this.#read(waitFor('dmesg | grep -q "port100 .* attached"', 'dmesg | sed -n "s/.*port100 [^ ]* //; /attached/p" | tail -n 1'));
    await this.#guest.run(`echo blacklist ${RC_S380_DRIVER} > /etc/modprobe.d/kessai.conf && modprobe -r ${RC_S380_DRIVER}`);
    return `${RC_S380_DRIVER} drives it ("${words}"); kept away from here on`;
  }

  async #find(): Promise<string> {
    this.#channel = await this.#connect();
    const [reader] = this.#source.readers;
    return reader?.name ?? '';
  }

  async #exchange(): Promise<string> {
    const { commands, uid } = this.#trial;
    commands.length = 0;
    const responses = await this.#transmit();
    equal('commands at the chip', commands.join(' '), BATCH.map(({ apdu }) => encodeHex(apdu)).join(' '));
    equal('UID', encodeHex(responses[2]?.subarray(0, uid.length) ?? new Uint8Array()), encodeHex(uid));
    return `${BATCH.length} commands, UID ${encodeHex(uid)}`;
  }

  async #lift(): Promise<string> {
    const { reader: { kind, field }, commands } = this.#trial;
    field.lift();
    // A ViVOpay terminal has no word for a card that goes: it is missed by the next command.
    if (kind !== 'vivotech') await this.#until('empty');
    commands.length = 0;
    const failure = await this.#transmit().then(() => undefined, (error: unknown) => asFailure(error).code);
    equal('failure', failure?.split('/')[0] ?? 'none', 'card');
    equal('commands at the chip', commands.join(' '), '');
    return failure ?? '';
  }

  async #putBack(): Promise<string> {
    const { reader: { field }, card } = this.#trial;
    await this.#channel?.close();
    field.put(card);
    this.#channel = await this.#connect();
    return this.#exchange();
  }

  async #pullOut(): Promise<string> {
    this.#server.unplug(this.#trial.busId);
    await this.#until(undefined);
    await this.#guest.run(waitFor(`! ${this.#listed}`, `! ${this.#listed}`));
    return 'gone';
  }

  async #plugAgain(): Promise<string> {
    await this.#plug();
    this.#channel = await this.#connect();
    const seen = await this.#exchange();
    await this.#channel.close();
    return seen;
  }

  /** A line that prints the device's `serial` below /sys, and ends in failure where there is none. */
  get #listed(): string {
    return `grep -lx ${describeDevice(this.#trial.reader.device.descriptors).serialNumber ?? ''} /sys/bus/usb/devices/*/serial 2> /dev/null`;
  }

  /** The shell of the guest stands in the device's folder below /sys. */
  async #read(line: string): Promise<string> {
    return (await this.#guest.run(line)).trim();
  }

  async #connect(): Promise<CardChannel> {
    await this.#until('present');
    return this.#source.connect(this.#source.readers[0]?.name ?? '', never);
  }

  #transmit(): Promise<Bytes[]> {
    if (this.#channel === undefined) throw new Error('no card is open');
    return this.#channel.transmit(BATCH, never);
  }

  /** Undefined: the reader is gone. */
  #until(state: ReaderState | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        if (this.#source.readers[0]?.state !== state) return;
        clearTimeout(timer);
        stop();
        resolve();
      };
      const stop = this.#source.onReaders(look);
      const timer = setTimeout(() => {
        stop();
        reject(new Error(`waited ${STATE_LIMIT_MS} ms for a reader that is ${state ?? 'gone'}; the readers are ${JSON.stringify(this.#source.readers)}`));
      }, STATE_LIMIT_MS);
      look();
    });
  }
}

/** Runs `then` when `condition` holds, or its time is over. */
function waitFor(condition: string, then: string): string {
  return `for i in $(seq ${10 * ENUMERATION_S}); do { ${condition}; } > /dev/null && break; sleep 0.1; done; ${then}`;
}

function equal(what: string, seen: string, expected: string): void {
  if (seen !== expected) throw new Error(`${what}: "${seen}" instead of "${expected}"`);
}

function hexOf(bytes: Bytes): string {
  return encodeHex(bytes).toLowerCase();
}

function describe(error: unknown): string {
  const failure = asFailure(error);
  return failure.code === 'internal/bug' && error instanceof Error ? error.message : failure.code;
}
