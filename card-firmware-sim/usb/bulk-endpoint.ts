/** The IN side of a bulk or interrupt endpoint: data that the device has ready meet the transfers that the host has pending. */
import type { Bytes } from '#protocol/bytes.ts';
import { STALL, UNPLUGGED } from './usb-device.ts';

export type InResult = Bytes | typeof STALL | typeof UNPLUGGED;

interface Packet {
  readonly bytes: Bytes;
  /** Shorter than the packet size: the host's transfer ends here (USB 2.0, 5.8.3). */
  readonly endsTransfer: boolean;
}

interface PendingRead {
  readonly length: number;
  readonly resolve: (result: InResult) => void;
}

export interface InEndpointOptions {
  /** wMaxPacketSize. Default 64. */
  readonly packetBytes?: number;
  /**
   * Whether an answer of a whole number of packets is followed by an empty one. With it (the default) each answer ends a transfer of
   * the host; without, a host that asked for more goes on waiting for what comes next, as it does with careless firmware.
   */
  readonly zeroLengthPacket?: boolean;
}

const NOTHING: Bytes = new Uint8Array();

export class InEndpoint {
  readonly #packetBytes: number;
  readonly #zeroLengthPacket: boolean;
  #packets: Packet[] = [];
  #reads: PendingRead[] = [];
  #state: 'working' | typeof STALL | typeof UNPLUGGED = 'working';

  constructor(options: InEndpointOptions = {}) {
    this.#packetBytes = options.packetBytes ?? 64;
    this.#zeroLengthPacket = options.zeroLengthPacket ?? true;
  }

  /** The device has an answer ready; it is sent as one transfer. */
  push(answer: Bytes): void {
    for (let at = 0; at < answer.length; at += this.#packetBytes) {
      const bytes = answer.slice(at, at + this.#packetBytes);
      this.#packets.push({ bytes, endsTransfer: bytes.length < this.#packetBytes });
    }
    const isWhole = answer.length % this.#packetBytes === 0;
    if (isWhole && (this.#zeroLengthPacket || answer.length === 0)) this.#packets.push({ bytes: NOTHING, endsTransfer: true });
    this.#serve();
  }

  /** One transfer of the host; what does not fit stays for the next. An aborted one resolves to no bytes and takes none. */
  read(length: number, signal: AbortSignal): Promise<InResult> {
    if (this.#state !== 'working') return Promise.resolve(this.#state);
    if (signal.aborted || length === 0) return Promise.resolve(NOTHING);
    return new Promise((resolve) => {
      const onAbort = () => {
        this.#reads = this.#reads.filter((one) => one !== read);
        resolve(NOTHING);
      };
      const read: PendingRead = {
        length,
        resolve: (result) => {
          signal.removeEventListener('abort', onAbort);
          resolve(result);
        },
      };
      signal.addEventListener('abort', onAbort, { once: true });
      this.#reads.push(read);
      this.#serve();
    });
  }

  /** Nothing is ready any more; pending reads go on waiting. */
  clear(): void {
    this.#packets = [];
  }

  /** Halts the endpoint: what is pending and what comes is refused, until `clearHalt`. */
  stall(): void {
    this.#end(STALL);
  }

  clearHalt(): void {
    if (this.#state === STALL) this.#state = 'working';
  }

  /** For good. */
  unplug(): void {
    this.#end(UNPLUGGED);
  }

  #end(state: typeof STALL | typeof UNPLUGGED): void {
    this.#state = state;
    for (const read of this.#reads.splice(0)) read.resolve(state);
  }

  #serve(): void {
    for (let next = this.#reads[0]; next !== undefined; next = this.#reads[0]) {
      const taken = this.#take(next.length);
      if (taken === undefined) return;
      this.#reads.shift();
      next.resolve(taken);
    }
  }

  /** As many packets as one transfer of this length takes; undefined if it is not over yet. */
  #take(length: number): Bytes | undefined {
    let total = 0;
    let count = 0;
    let isOver = false;
    for (const { bytes, endsTransfer } of this.#packets) {
      count++;
      total += bytes.length;
      isOver = endsTransfer || total >= length;
      if (isOver) break;
    }
    if (!isOver) return undefined;
    const taken = new Uint8Array(Math.min(total, length));
    let at = 0;
    for (const { bytes, endsTransfer } of this.#packets.splice(0, count)) {
      const fits = bytes.subarray(0, length - at);
      taken.set(fits, at);
      at += fits.length;
      // On a real bus this is babble; the rest for the next read is what hosts that ask for a header first count on.
      if (fits.length < bytes.length) this.#packets.unshift({ bytes: bytes.slice(fits.length), endsTransfer });
    }
    return taken;
  }
}
