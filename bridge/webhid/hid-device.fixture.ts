/** A HID device that the test speaks for, a clock that does not wait, and the card that lies on such a device. */
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { answerOfContractCard, type ContractRig } from '../card-channel.contract.ts';
import type { Clock } from '../clock.ts';
import { DeviceChannel } from '../device/device-channel.ts';
import type { CardInField, ReaderDriver } from '../device/reader-driver.ts';
import type { HidDevice, HidInputReport } from './hid-device.ts';

/** When nothing else happens any more, the earliest timer's time has come. */
export class QuickClock implements Clock {
  readonly #timers = new Map<object, { at: number; callback: () => void }>();
  #now = 0;
  #pending = false;

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    const key = {};
    this.#timers.set(key, { at: this.#now + ms, callback });
    this.#wait();
    return () => void this.#timers.delete(key);
  }

  get timers(): number {
    return this.#timers.size;
  }

  pass(ms: number): void {
    this.#now += ms;
  }

  #wait(): void {
    if (this.#pending) return;
    this.#pending = true;
    setTimeout(() => {
      this.#pending = false;
      const [earliest] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at);
      if (earliest === undefined) return;
      const [key, { at, callback }] = earliest;
      this.#timers.delete(key);
      this.#now = Math.max(this.#now, at);
      callback();
      if (this.#timers.size > 0) this.#wait();
    }, 0);
  }
}

export class FakeHidDevice implements HidDevice {
  readonly vendorId = 0x1209;
  readonly productId = 0x0001;
  productName = 'Test reader';
  readonly collections: HIDCollectionInfo[] = [];
  opened = false;
  /** `id:hex` of each report that was sent to it. */
  readonly sent: string[] = [];
  readonly listeners = new Set<(event: HidInputReport) => void>();
  openError: Error | undefined;
  onReport: (id: number, bytes: Bytes) => void = () => undefined;
  /** It takes no report any more, and says nothing of it. */
  stuck = false;

  open(): Promise<void> {
    if (this.openError !== undefined) return Promise.reject(this.openError);
    this.opened = true;
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.opened = false;
    return Promise.resolve();
  }

  unplug(): void {
    this.opened = false;
  }

  sendReport(id: number, data: BufferSource): Promise<void> {
    if (!this.opened) return Promise.reject(new DOMException('Failed to write the report.', 'NotAllowedError'));
    if (this.stuck) return new Promise(() => undefined);
    const bytes = new Uint8Array(data as Bytes);
    this.sent.push(`${id}:${encodeHex(bytes)}`);
    queueMicrotask(() => this.onReport(id, bytes));
    return Promise.resolve();
  }

  /** An input report reaches the page. */
  say(id: number, bytes: Uint8Array): void {
    if (!this.opened) return;
    for (const listener of [...this.listeners]) listener({ reportId: id, data: new DataView(new Uint8Array(bytes).buffer) });
  }

  addEventListener(_: 'inputreport', listener: (event: HidInputReport) => void): void {
    this.listeners.add(listener);
  }

  removeEventListener(_: 'inputreport', listener: (event: HidInputReport) => void): void {
    this.listeners.delete(listener);
  }
}

export const UID = parseHex('04112233445566');

/** A card that behaves as the contract says, on a reader that the test plays. */
export class FieldCard {
  there = true;
  uid: Bytes = UID;
  readonly commands: string[] = [];

  /** `mute`: no answer; undefined: it is not, or no longer, there. */
  process(command: Bytes): Bytes | 'mute' | undefined {
    if (!this.there) return undefined;
    this.commands.push(encodeHex(command));
    const answer = answerOfContractCard(command);
    if (answer !== 'tear') return answer;
    this.there = false;
    return undefined;
  }
}

export async function foundCard(driver: ReaderDriver): Promise<CardInField> {
  const found = await driver.findCard();
  if (found === undefined) throw new Error('no card was found');
  return found;
}

/** The contract of card channels over this driver, through the channel that all drivers share. */
export async function contractRig(driver: ReaderDriver, card: FieldCard): Promise<ContractRig> {
  await driver.open();
  const open = (inField: CardInField): DeviceChannel => new DeviceChannel({ readerName: driver.readerName, card: inField, transmitLimitMs: 500, presenceIntervalMs: 5 });
  const first = await foundCard(driver);
  const channel = open(first);
  return {
    channel,
    commandsSeen: () => card.commands,
    lift: async () => {
      card.there = false;
      await new Promise((resolve) => setTimeout(resolve, 0));
    },
    reopen: async () => {
      await first.release();
      return open(await foundCard(driver));
    },
    end: async () => {
      await driver.close();
      await channel.close();
    },
  };
}
