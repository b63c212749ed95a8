/** A reader of any kind on a bus in memory, its card counting what it carries out; time is virtual, so that every wait of drivers and devices is over at once. */
import type { CardChannel } from '#bridge/card-channel.ts';
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import type { ReaderSource } from '#bridge/reader-source.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { createEmulatedReader, type DeviceKind, type EmulatedReader } from '#card-firmware-sim/usb/device-kinds.ts';
import { ContactlessField } from '#card-firmware-sim/usb/field.ts';
import { Picc, type PiccOptions } from '#card-firmware-sim/usb/picc.ts';
import { UNPLUGGED, type CardApplication, type UsbDevice } from '#card-firmware-sim/usb/usb-device.ts';
import type { CardCommand } from '#protocol/apdu.ts';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { asFailure, TransmitFailure, type FailureCode } from '#protocol/failure.ts';
import { createInMemoryHid } from './in-memory-hid.ts';
import { createInMemoryUsb } from './in-memory-usb.ts';

/** What a person would wait for a reader to come back, at most. */
const PATIENCE_MS = 30_000;
/** Of a batch: longer than any reader's own limit for a card that has gone, and than FWTmax. */
export const TRANSMIT_LIMIT_MS = 10_000;
/** No session takes so long. */
const HANGING_MS = 120_000;
/** What a driver may take beyond the batch's limit, see DeviceChannel. */
const GRACE_MS = 600;
/** After so long a person takes the card away and puts it back. */
const DOUBT_MS = 12_000;
/** A card that was torn away comes back so much later. */
const PUT_BACK_MS = 3_000;

/**
 * How a session went, and how many true answers were handed over. `unplugged`: there was no reader any more before the session began.
 * `untrue`: the answer to another command was handed over, which only the card's secure messaging can notice.
 */
export interface Outcome {
  readonly end: FailureCode | 'served' | 'unplugged' | 'untrue';
  readonly answers: number;
}

export interface DeskOptions {
  readonly picc?: Omit<PiccOptions, 'application'>;
  readonly transmitLimitMs?: number;
}

export class ReaderDesk {
  readonly kind: DeviceKind;
  readonly field = new ContactlessField();
  readonly card: Picc;
  readonly source: ReaderSource;
  /** Everything that the chip has carried out, in hex, in order. */
  readonly carriedOut: string[] = [];
  /** Everything that was given to a channel, in hex, in order. */
  readonly sent: string[] = [];
  /** Called when the chip carries out the n-th command of its life, 1 the first: where faults are placed in the middle. */
  onCommand: (n: number) => void = () => undefined;
  /** Called when a channel is open and nothing was sent yet. */
  onOpen: () => void = () => undefined;
  /** So often a person had to take the card away and put it back, because the reader did not see it. */
  placedAnew = 0;
  emulated: EmulatedReader;
  readonly #usb = createInMemoryUsb();
  readonly #hid = createInMemoryHid();
  readonly #transmitLimitMs: number;
  readonly #never = new AbortController().signal;
  #plugged: UsbDevice | undefined;
  #wellBehaved: Readonly<Record<string, unknown>>;

  constructor(kind: DeviceKind, { picc, transmitLimitMs = TRANSMIT_LIMIT_MS }: DeskOptions = {}) {
    this.kind = kind;
    this.#transmitLimitMs = transmitLimitMs;
    this.card = new Picc({ ...picc, application: this.#application() });
    this.field.put(this.card);
    this.field.onChange(() => {
      if (this.field.cards.length === 0) setTimeout(() => this.field.put(this.card), PUT_BACK_MS);
    });
    this.emulated = createEmulatedReader(kind, { field: this.field });
    this.#wellBehaved = { ...this.emulated.misbehave };
    this.source = openDeviceReaders([createUsbBus(this.#usb.access), createHidBus(this.#hid.access)]);
  }

  /** Of the reader itself; its kind says which there are. */
  misbehave(how: Readonly<Record<string, number | boolean>>): void {
    for (const name of Object.keys(how)) if (!(name in this.emulated.misbehave)) throw new Error(`${this.kind} cannot ${name}`);
    Object.assign(this.emulated.misbehave, how);
  }

  plug(): void {
    if (this.emulated.device.isUnplugged) this.emulated = createEmulatedReader(this.kind, { field: this.field });
    const { device } = this.emulated;
    this.#plugged = withNews(device, () => this.unplug());
    this.#bus.plug(this.#plugged);
  }

  unplug(): void {
    const device = this.#plugged;
    this.#plugged = undefined;
    if (device === undefined) return;
    if (!this.emulated.device.isUnplugged) this.emulated.device.unplug();
    this.#bus.unplug(device);
  }

  /** From a reader that is there, or comes back by itself, to so many answers, or to what failed. */
  serve(commands = 3): Promise<Outcome> {
    const hangs = new Promise<never>((_, reject) => {
      setTimeout(() => reject(new Error('neither an answer nor a failure')), HANGING_MS);
    });
    return Promise.race([this.#serve(commands), hangs]);
  }

  async #serve(commands: number): Promise<Outcome> {
    const seen = await this.#present();
    if (seen !== 'present') return { end: seen, answers: 0 };
    let channel: CardChannel | undefined;
    try {
      channel = await this.source.connect(this.source.readers[0]?.name ?? '', this.#never, this.#transmitLimitMs);
      this.onOpen();
      return await this.transmit(channel, commands);
    } catch (thrown) {
      const { code } = asFailure(thrown);
      if (code === 'internal/bug') throw thrown;
      return { end: code, answers: 0 };
    } finally {
      await channel?.close();
    }
  }

  /** One batch of commands that no earlier one resembles; what is answered must be the truth. */
  async transmit(channel: CardChannel, commands: number): Promise<Outcome> {
    const batch = Array.from({ length: commands }, () => this.#nextCommand());
    const startedAt = performance.now();
    const [answers, end] = await channel.transmit(batch, this.#never).then(
      (responses) => [responses, 'served'] as const,
      (thrown: unknown) => {
        if (!(thrown instanceof TransmitFailure)) throw thrown;
        return [thrown.responses, thrown.code] as const;
      },
    );
    const tookMs = performance.now() - startedAt;
    if (tookMs > this.#transmitLimitMs + GRACE_MS) throw new Error(`a batch took ${tookMs} ms`);
    for (const [index, answer] of answers.entries()) {
      const told = encodeHex(answer);
      const truth = encodeHex(echoOf(batch[index]?.apdu ?? new Uint8Array()));
      if (told !== truth) return { end: 'untrue', answers: index };
    }
    return { end, answers: answers.length };
  }

  /** One that lies there as well. */
  otherCard(): Picc {
    return new Picc({ application: { ...this.#application(), uid: parseHex('04D1D2D3D4D5D6') } });
  }

  /** Everything is in order again: card put back, reader plugged in, no fault left. */
  mend(): void {
    this.field.clearFaults();
    this.onCommand = this.onOpen = () => undefined;
    Object.assign(this.card, { wtxStorm: 0, workMs: 0 });
    for (const card of this.field.cards) if (card !== this.card) this.field.lift(card);
    this.field.put(this.card);
    if (this.#plugged === undefined) this.plug();
    Object.assign(this.emulated.device.faults, { slowMs: 0, stallOutAt: 0, stallInAt: 0, swallowAt: 0, unplugAfterBytes: undefined });
    Object.assign(this.emulated.misbehave, this.#wellBehaved);
  }

  /** As often as a person would try; undefined: it does not serve any more. */
  async servesAgain(): Promise<number | undefined> {
    for (let tries = 1; tries <= 3; tries++) {
      // Each time: a cable may fail while the reader is given back.
      this.mend();
      // A real chip drops its work with the field; the emulated one finishes it.
      await this.card.idle();
      if ((await this.serve(1)).end === 'served') return tries;
    }
    return undefined;
  }

  /** Everything that was sent and carried out twice, or out of order, or that nobody sent; empty: all is well. */
  violations(): string[] {
    const unexpected: string[] = [];
    let at = 0;
    for (const command of this.carriedOut) {
      const found = this.sent.indexOf(command, at);
      if (found === -1) unexpected.push(command);
      else at = found + 1;
    }
    return unexpected;
  }

  async close(): Promise<void> {
    await this.source.close();
  }

  get #bus() {
    return this.emulated.device.descriptors.hidReport === undefined ? this.#usb : this.#hid;
  }

  #nextCommand(): CardCommand {
    const apdu = concatBytes(parseHex('80EE000003'), Uint8Array.of(this.sent.length >> 16, this.sent.length >> 8, this.sent.length), Uint8Array.of(0));
    this.sent.push(encodeHex(apdu));
    return { apdu, expectedStatus: 0x9100 };
  }

  #application(): CardApplication {
    return {
      uid: parseHex('04A1B2C3D4E5F6'),
      reset: () => Promise.resolve(),
      process: (command) => {
        this.carriedOut.push(encodeHex(command));
        this.onCommand(this.carriedOut.length);
        return Promise.resolve(echoOf(command));
      },
    };
  }

  /** Until a card is seen on the reader, the reader is gone, or a person gives up. */
  #present(): Promise<'present' | 'unplugged' | FailureCode> {
    return new Promise((resolve, reject) => {
      const startedAt = performance.now();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const end = (settle: () => void): void => {
        clearTimeout(timer);
        stop();
        settle();
      };
      const look = (): void => {
        if (this.#plugged === undefined) end(() => resolve('unplugged'));
        else if (this.source.readers[0]?.state === 'present') end(() => resolve('present'));
      };
      const doubt = (): void => {
        const problem = this.source.readers[0]?.problem;
        if (performance.now() - startedAt < PATIENCE_MS) {
          this.#placeAnew();
          timer = setTimeout(doubt, DOUBT_MS);
        } else end(() => (problem === undefined ? reject(new Error('the reader sees no card, and knows no reason')) : resolve(problem)));
      };
      const stop = this.source.onReaders(look);
      timer = setTimeout(doubt, DOUBT_MS);
      look();
    });
  }

  /** What the texts of card failures ask for: take it away, and put it back. */
  #placeAnew(): void {
    this.placedAnew++;
    this.field.lift(this.card);
    this.field.put(this.card);
  }
}

function echoOf(command: Bytes): Bytes {
  return concatBytes(command.subarray(5, 5 + (command[4] ?? 0)), parseHex('9100'));
}

/** A device whose first transfer into nothing tells the system that it is gone. */
function withNews(device: UsbDevice, onGone: () => void): UsbDevice {
  const heard = <T>(result: T): T => {
    if (result === UNPLUGGED) onGone();
    return result;
  };
  return {
    descriptors: device.descriptors,
    transferOut: async (endpoint, data) => heard(await device.transferOut(endpoint, data)),
    transferIn: async (endpoint, length, signal) => heard(await device.transferIn(endpoint, length, signal)),
    control: async (setup, data) => heard(await device.control(setup, data)),
    clearHalt: (endpoint) => device.clearHalt(endpoint),
    reset: () => device.reset(),
  };
}
