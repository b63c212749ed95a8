/** What the readers over WebUSB have in common: the life between open and close, and a card spoken to in ISO-DEP blocks. */
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { CardInField, ReaderDriver } from '../device/reader-driver.ts';
import type { Ats } from '../iso-dep-ats.ts';
import { createIsoDep, type IsoDepOptions } from '../iso-dep.ts';
import { pause, type Clock } from '../clock.ts';
import type { UsbDevice } from './usb-device.ts';
import { openUsbPipe, type PipeOptions, type UsbPipe } from './usb-pipe.ts';

/** A family's own part, over one opened pipe. */
export interface Radio {
  /** Brings the reader to a known state, field off. */
  begin(): Promise<void>;
  findCard(): Promise<CardInField | undefined>;
  /** Field off and everything given back, over a pipe that nobody else uses any more; the reader may be gone, or in the middle of a command. */
  farewell(pipe: UsbPipe): Promise<void>;
}

export interface UsbReaderOptions extends PipeOptions {
  readonly device: UsbDevice;
  readonly readerName: string;
  readonly createRadio: (pipe: UsbPipe) => Radio;
}

/** May be opened again after it was closed. */
export function createUsbReader(options: UsbReaderOptions): ReaderDriver {
  let session: Session | undefined;
  return {
    readerName: options.readerName,
    async open() {
      const previous = session;
      const next = new Session(options);
      session = next;
      await previous?.end();
      await next.begin();
    },
    findCard: () => session?.findCard() ?? Promise.reject(closed()),
    close: () => session?.end() ?? Promise.resolve(),
  };
}

class Session {
  readonly #options: UsbReaderOptions;
  #opening: Promise<UsbPipe> | undefined;
  #radio: Radio | undefined;
  #end: Promise<void> | undefined;

  constructor(options: UsbReaderOptions) {
    this.#options = options;
  }

  async begin(): Promise<void> {
    if (this.#end) throw closed();
    const { device, createRadio } = this.#options;
    this.#opening = openUsbPipe(device, this.#options);
    const pipe = await this.#opening;
    // Closed while the system was opening it.
    if (this.#isEnding()) throw closed();
    this.#radio = createRadio(pipe);
    try {
      await this.#radio.begin();
    } catch (reason) {
      await this.end();
      throw reason;
    }
  }

  findCard(): Promise<CardInField | undefined> {
    return this.#radio && !this.#end ? this.#radio.findCard() : Promise.reject(closed());
  }

  end(): Promise<void> {
    this.#end ??= this.#farewell();
    return this.#end;
  }

  #isEnding(): boolean {
    return this.#end !== undefined;
  }

  async #farewell(): Promise<void> {
    // What cannot be opened need not be closed.
    const pipe = await this.#opening?.catch(() => undefined);
    if (!pipe) return;
    const last = pipe.retire();
    try {
      await this.#radio?.farewell(last);
    } catch {
      // Unplugged, or deaf: closing the device ends whatever it still holds.
    }
    await last.close();
  }
}

const closed = (): Failure => new Failure('reader/failed', { detail: 'closed' });

export interface RadioCard extends Pick<IsoDepOptions, 'exchange'> {
  readonly uid: Bytes;
  readonly ats: Ats;
  readonly clock: Clock;
  readonly fieldOff: () => Promise<void>;
}

/** The card that has just answered RATS; waits first for as long as it wants to be left alone (5.2.5). */
export async function createRadioCard({ uid, ats, exchange, clock, fieldOff }: RadioCard): Promise<CardInField> {
  const isoDep = createIsoDep({ ats, exchange, now: () => clock.now() });
  if (ats.guardMs > 0) await pause(clock, ats.guardMs);
  return {
    uid,
    transceive: (command, limitMs) => isoDep.transceive(command, limitMs),
    isPresent: () => isoDep.isPresent(),
    release: async () => {
      // A reader that fails here, or was closed, has let go of the card as well.
      await isoDep.deselect().catch(() => undefined);
      await fieldOff().catch(() => undefined);
    },
  };
}
