/** A USB device in memory that answers by a script, and a clock that jumps to the next timer when nothing else happens: for tests of the drivers. */
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import type { Clock } from '../clock.ts';
import type { UsbDevice, UsbInResult } from './usb-device.ts';

/** Bytes: one IN transfer's worth, split where the host asks for less. `stall` halts the IN endpoint, `hang` leaves the OUT transfer unanswered. */
export type Reaction = Bytes | 'stall' | 'stall-out' | 'unplug' | 'hang' | 'babble';

export interface FakeUsbOptions {
  readonly productId: number;
  readonly productName?: string;
  readonly interfaces: readonly { readonly number: number; readonly class: number; readonly input: number; readonly output: number }[];
  readonly react: (data: Bytes) => readonly Reaction[];
}

const error = (name: string): DOMException => new DOMException(name, name);

export class FakeUsbDevice implements UsbDevice {
  readonly vendorId = 0x054c;
  readonly productId: number;
  readonly manufacturerName = 'SONY';
  readonly productName: string | undefined;
  readonly serialNumber = '0';
  opened = false;
  configuration: UsbDevice['configuration'];
  /** Names of the errors that the next calls fail with. */
  readonly refuse: { open?: string; claimInterface?: string; selectConfiguration?: string } = {};
  /** What was sent, in hex, empty packets too. */
  readonly sent: string[] = [];
  /** What else was called. */
  readonly calls: string[] = [];
  /** Two reads at once, or a read of a size that can babble. */
  readonly violations: string[] = [];
  isUnplugged = false;
  readonly #options: FakeUsbOptions;
  readonly #incoming: (Bytes | 'stall' | 'babble')[] = [];
  #reader: { length: number; resolve: (result: UsbInResult) => void; reject: (reason: unknown) => void } | undefined;

  constructor(options: FakeUsbOptions) {
    this.#options = options;
    this.productId = options.productId;
    this.productName = options.productName;
  }

  open(): Promise<void> {
    if (this.isUnplugged) return Promise.reject(error('NotFoundError'));
    if (this.refuse.open) return Promise.reject(error(this.refuse.open));
    this.opened = true;
    return this.#called('open');
  }

  close(): Promise<void> {
    this.opened = false;
    this.#failRead('AbortError');
    return this.#called('close');
  }

  selectConfiguration(value: number): Promise<void> {
    if (this.refuse.selectConfiguration) return Promise.reject(error(this.refuse.selectConfiguration));
    const interfaces = this.#options.interfaces.map(({ number, class: interfaceClass, input, output }) => {
      const alternate = {
        interfaceClass,
        endpoints: [
          { endpointNumber: input, direction: 'in', type: 'bulk', packetSize: 64 },
          { endpointNumber: output, direction: 'out', type: 'bulk', packetSize: 64 },
        ] as const,
      };
      return { interfaceNumber: number, alternate, alternates: [alternate] };
    });
    this.configuration = { interfaces };
    return this.#called(`selectConfiguration ${value}`);
  }

  claimInterface(number: number): Promise<void> {
    if (this.refuse.claimInterface) return Promise.reject(error(this.refuse.claimInterface));
    return this.#called(`claimInterface ${number}`);
  }

  releaseInterface(number: number): Promise<void> {
    return this.#called(`releaseInterface ${number}`);
  }

  clearHalt(direction: 'in' | 'out', endpoint: number): Promise<void> {
    return this.#called(`clearHalt ${direction} ${endpoint}`);
  }

  transferIn(_endpoint: number, length: number): Promise<UsbInResult> {
    if (this.isUnplugged) return Promise.reject(error('NotFoundError'));
    if (this.#reader) this.violations.push('two reads at once');
    if (length % 64 !== 0) this.violations.push(`read of ${length} bytes`);
    return new Promise((resolve, reject) => {
      this.#reader = { length, resolve, reject };
      this.#deliver();
    });
  }

  transferOut(_endpoint: number, data: BufferSource): Promise<{ bytesWritten: number; status: 'ok' | 'stall' }> {
    if (this.isUnplugged) return Promise.reject(error('NetworkError'));
    const bytes = new Uint8Array(data as Bytes);
    this.sent.push(encodeHex(bytes));
    for (const reaction of bytes.length > 0 ? this.#options.react(bytes) : []) {
      if (reaction === 'hang') return new Promise(() => undefined);
      if (reaction === 'stall-out') return Promise.resolve({ bytesWritten: 0, status: 'stall' });
      if (reaction === 'unplug') {
        this.unplug();
        return Promise.reject(error('NetworkError'));
      }
      this.bring(reaction);
    }
    return Promise.resolve({ bytesWritten: bytes.length, status: 'ok' });
  }

  /** The device sends this of itself. */
  bring(transfer: Bytes | 'stall' | 'babble'): void {
    this.#incoming.push(transfer);
    this.#deliver();
  }

  unplug(): void {
    this.isUnplugged = true;
    this.#failRead('NetworkError');
  }

  #deliver(): void {
    const next = this.#incoming[0];
    if (!this.#reader || next === undefined) return;
    const { length, resolve } = this.#reader;
    this.#reader = undefined;
    this.#incoming.shift();
    if (typeof next === 'string') return resolve({ status: next });
    if (next.length > length) this.#incoming.unshift(next.slice(length));
    resolve({ status: 'ok', data: new DataView(next.slice(0, length).buffer) });
  }

  #failRead(name: string): void {
    this.#reader?.reject(error(name));
    this.#reader = undefined;
  }

  #called(call: string): Promise<void> {
    this.calls.push(call);
    return Promise.resolve();
  }
}

export class JumpingClock implements Clock {
  nowMs = 0;
  readonly #timers = new Set<{ readonly atMs: number; readonly callback: () => void }>();
  #isWatching = false;

  now(): number {
    return this.nowMs;
  }

  after(ms: number, callback: () => void): () => void {
    const timer = { atMs: this.nowMs + ms, callback };
    this.#timers.add(timer);
    this.#watch();
    return () => void this.#timers.delete(timer);
  }

  /** All that is ready runs before a real timer of no length does; only then is anybody waiting for time to pass. */
  #watch(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    setTimeout(() => {
      this.#isWatching = false;
      const [next] = [...this.#timers].sort((a, b) => a.atMs - b.atMs);
      if (!next) return;
      this.#timers.delete(next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.callback();
      if (this.#timers.size > 0) this.#watch();
    }, 0);
  }
}
