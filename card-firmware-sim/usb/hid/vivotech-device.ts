/**
 * An ID TECH ViVOpay terminal (vendor 0ACD) as far as pass-through to a contactless card goes: ViVOtech2 frames in reports 01 to 04.
 * By the NEO 2 Interface Developer's Guide; what that leaves open is chosen here and marked "chosen".
 */
import { concatBytes, parseHex } from '#protocol/bytes.ts';
import { encodeFrame, MAX_FRAME_BYTES, parseFrame, ReportAssembler, splitIntoReports } from './vivotech-frame.ts';
import { HidUsbDevice, takeOne } from './hid-usb-device.ts';
import { TerminalPcd } from './terminal-pcd.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CrcOrder, VivotechCommand } from './vivotech-frame.ts';
import type { Found, FoundCard } from './terminal-pcd.ts';
import type { HidFirmware, HidIdentity, HidMisbehaviour, HidOutlet, HidReaderOptions } from './hid-usb-device.ts';

export interface VivotechOptions extends HidReaderOptions {
  /** The order that the CRC of a 2C command has to be in. The manual contradicts itself; default: either is taken. */
  readonly passThroughOrder?: CrcOrder | 'either';
  /** An SRED model whose list knows no such card: card data is withheld (status 06). */
  readonly withholdsCardData?: boolean;
}

/** The product id of a VP3300 is not confirmed by any source we have: chosen. Drivers filter by vendor. */
const IDENTITY: HidIdentity = { vendorId: 0x0acd, productId: 0x3530, release: 0x0100, manufacturer: 'ID TECH', product: 'ViVOpay VP3300', serialNumber: '619T123456' };
const REPORT_DESCRIPTOR = concatBytes(
  parseHex('0600FF0901A101150026FF007508'),
  ...[1, 2, 3, 4].map((id) => concatBytes(new Uint8Array([0x85, id]), parseHex('953F09018102953F09029102'))),
  parseHex('C0'),
);
const FIRMWARE_VERSION = 'VP3300 NEO v1.01.000';
const STATUS = { OK: 0x00, BAD_HEADER: 0x01, UNKNOWN_COMMAND: 0x02, UNKNOWN_SUBCOMMAND: 0x03, CRC: 0x04, BAD_PARAMETER: 0x05, NOT_SUPPORTED: 0x06, TIMEOUT: 0x08, FAILED: 0x0a, NOT_ALLOWED: 0x0b, OVERFLOW: 0x0d } as const;
const COMMAND = { CANCEL: 0x05, SERIAL_NUMBER: 0x12, PING: 0x18, VERSION: 0x29, PASS_THROUGH: 0x2c } as const;
const PASS_THROUGH = { MODE: 0x01, POLL: 0x02, EXCHANGE: 0x03, POLL_WITH_ATS: 0x0e, EXCHANGE_ON_INTERFACE: 0x13 } as const;
const CARD = { ISO_DEP: 0x01, MIFARE_STANDARD: 0x03, MIFARE_ULTRALIGHT: 0x04, OTHER: 0x05 } as const;
const FRAME_OVERHEAD_BYTES = 16;
const NOTHING: Bytes = new Uint8Array();

type Answer = { readonly status: number; readonly data?: Bytes };

export class VivotechDevice extends HidUsbDevice {
  constructor(options: VivotechOptions) {
    super(IDENTITY, REPORT_DESCRIPTOR, options, (outlet, misbehave) => new VivotechFirmware(new TerminalPcd(options.field, options), outlet, misbehave, options));
  }
}

class VivotechFirmware implements HidFirmware {
  readonly #pcd: TerminalPcd;
  readonly #outlet: HidOutlet;
  readonly #misbehave: HidMisbehaviour;
  readonly #options: VivotechOptions;
  readonly #frames = new ReportAssembler();
  #isPassThrough = false;
  #generation = 0;
  /** Ends a poll that waits for a card: the next command does. */
  #endPoll: (() => void) | undefined;
  #tail: Promise<void> = Promise.resolve();

  constructor(pcd: TerminalPcd, outlet: HidOutlet, misbehave: HidMisbehaviour, options: VivotechOptions) {
    this.#pcd = pcd;
    this.#outlet = outlet;
    this.#misbehave = misbehave;
    this.#options = options;
  }

  receive(report: Bytes): void {
    const frame = this.#frames.push(report);
    if (frame === undefined) return;
    const command = frame === 'bad-header' ? undefined : parseFrame(frame);
    this.#endPoll?.();
    const generation = this.#generation;
    this.#tail = this.#tail.then(async () => {
      if (generation !== this.#generation) return;
      // Without a header there is no command to echo: 00 (chosen).
      const answer: Answer = command === undefined ? { status: STATUS.BAD_HEADER } : await this.#obey(command);
      if (generation === this.#generation) this.#respond(command?.command ?? 0, answer);
    });
  }

  reset(): void {
    this.#generation++;
    this.#endPoll?.();
    this.#frames.drop();
    this.#isPassThrough = false;
    this.#pcd.off();
  }

  async #obey(command: VivotechCommand): Promise<Answer> {
    const expected = command.command === COMMAND.PASS_THROUGH ? (this.#options.passThroughOrder ?? 'either') : 'lsb-first';
    const isIntact = expected === 'either' ? command.crcOrders.length > 0 : command.crcOrders.includes(expected);
    if (!isIntact) return { status: STATUS.CRC };
    switch (command.command) {
      case COMMAND.PASS_THROUGH:
        return this.#misbehave.isTaken ? { status: STATUS.NOT_ALLOWED } : this.#passThrough(command);
      case COMMAND.PING:
        return { status: command.subcommand === 0x01 ? STATUS.OK : STATUS.UNKNOWN_SUBCOMMAND };
      case COMMAND.CANCEL:
        return { status: command.subcommand === 0x01 ? STATUS.OK : STATUS.UNKNOWN_SUBCOMMAND };
      case COMMAND.SERIAL_NUMBER:
        return command.subcommand === 0x01 ? { status: STATUS.OK, data: ascii(this.#options.serialNumber ?? IDENTITY.serialNumber) } : { status: STATUS.UNKNOWN_SUBCOMMAND };
      case COMMAND.VERSION:
        return command.subcommand === 0x00 ? { status: STATUS.OK, data: ascii(FIRMWARE_VERSION) } : { status: STATUS.UNKNOWN_SUBCOMMAND };
      default:
        return { status: STATUS.UNKNOWN_COMMAND };
    }
  }

  async #passThrough({ subcommand, data }: VivotechCommand): Promise<Answer> {
    switch (subcommand) {
      case PASS_THROUGH.MODE:
        return this.#switchMode(data);
      case PASS_THROUGH.POLL:
      case PASS_THROUGH.POLL_WITH_ATS:
        return this.#isPassThrough ? this.#poll(data, subcommand === PASS_THROUGH.POLL_WITH_ATS) : { status: STATUS.NOT_ALLOWED };
      case PASS_THROUGH.EXCHANGE:
        return this.#isPassThrough ? this.#exchange(data) : { status: STATUS.NOT_ALLOWED };
      case PASS_THROUGH.EXCHANGE_ON_INTERFACE:
        if (data[0] !== 0x00) return { status: STATUS.BAD_PARAMETER };
        return this.#isPassThrough ? this.#exchange(data.slice(1)) : { status: STATUS.NOT_ALLOWED };
      default:
        return { status: STATUS.UNKNOWN_SUBCOMMAND };
    }
  }

  #switchMode(data: Bytes): Answer {
    if (data.length !== 1 || (data[0] ?? 2) > 1) return { status: STATUS.BAD_PARAMETER };
    this.#isPassThrough = data[0] === 1;
    this.#pcd.off();
    return { status: STATUS.OK };
  }

  /** Data: seconds, and hundredths. */
  async #poll(data: Bytes, withAts: boolean): Promise<Answer> {
    const [seconds = 0, hundredths = 0] = data;
    if (data.length !== 2 || (seconds === 0 && hundredths === 0)) return { status: STATUS.BAD_PARAMETER };
    const found = await this.#findWithin(1000 * seconds + 10 * hundredths);
    if (found.kind === 'none') return { status: STATUS.TIMEOUT };
    // Several cards: NACK (chosen).
    if (found.kind === 'several') return { status: STATUS.FAILED };
    // The ATS follows the UID (chosen).
    return { status: STATUS.OK, data: concatBytes(new Uint8Array([cardType(found)]), found.uid, withAts ? (found.ats ?? NOTHING) : NOTHING) };
  }

  async #findWithin(limitMs: number): Promise<Found> {
    const watch = { isOver: false, stir: (): void => undefined };
    const over = (): void => {
      watch.isOver = true;
      watch.stir();
    };
    const timer = setTimeout(over, limitMs).unref();
    const stopLooking = this.#pcd.onStir(() => {
      watch.stir();
    });
    this.#endPoll = over;
    try {
      for (;;) {
        const stirred = new Promise<void>((resolve) => {
          watch.stir = resolve;
        });
        const found = await this.#pcd.find();
        if (found.kind !== 'none' || watch.isOver) return found;
        await stirred;
      }
    } finally {
      clearTimeout(timer);
      stopLooking();
      this.#endPoll = undefined;
    }
  }

  async #exchange(command: Bytes): Promise<Answer> {
    if (command.length === 0) return { status: STATUS.BAD_PARAMETER };
    if (this.#pcd.activeUid === undefined) return { status: STATUS.FAILED };
    const answer = await this.#pcd.exchange(command);
    if (answer === 'gone') return { status: STATUS.TIMEOUT };
    if (answer === 'mute') return { status: STATUS.FAILED };
    if (this.#options.withholdsCardData === true && answer.length > 2) return { status: STATUS.NOT_SUPPORTED };
    return answer.length > MAX_FRAME_BYTES - FRAME_OVERHEAD_BYTES ? { status: STATUS.OVERFLOW } : { status: STATUS.OK, data: answer };
  }

  /** Every answer has its CRC high byte first. */
  #respond(command: number, { status, data = NOTHING }: Answer): void {
    const echoed = takeOne(this.#misbehave, 'wrongNumbers') ? command ^ 0x01 : command;
    const frame = encodeFrame(echoed, status, data, 'msb-first');
    const last = frame.length - 1;
    if (takeOne(this.#misbehave, 'brokenAnswers')) frame[last] = (frame[last] ?? 0) ^ 0xff;
    this.#outlet.answer(splitIntoReports(frame));
  }
}

function cardType({ sak, ats }: FoundCard): number {
  if (ats !== undefined) return CARD.ISO_DEP;
  return sak === 0x08 || sak === 0x18 ? CARD.MIFARE_STANDARD : sak === 0x00 ? CARD.MIFARE_ULTRALIGHT : CARD.OTHER;
}

function ascii(text: string): Bytes {
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}
