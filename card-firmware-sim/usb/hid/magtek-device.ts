/**
 * A MagTek DynaFlex terminal (USB 0801:2020) as far as pass-through to a MIFARE DESFire card goes: MMS messages, transactions, notifications.
 * By the vendor's programmer's manual; what that leaves open is chosen here and marked "chosen".
 */
import { concatBytes, parseHex } from '#protocol/bytes.ts';
import { encodeMessage, encodeTlv, MESSAGE_TYPE, PacketAssembler, parseMessage, parseTlvs, splitIntoReports } from './magtek-message.ts';
import { HidUsbDevice, takeOne } from './hid-usb-device.ts';
import { TerminalPcd } from './terminal-pcd.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { Found, FoundCard } from './terminal-pcd.ts';
import type { HidFirmware, HidIdentity, HidMisbehaviour, HidOutlet, HidReaderOptions } from './hid-usb-device.ts';
import type { MmsMessage, Tlv } from './magtek-message.ts';

export interface MagtekOptions extends HidReaderOptions {
  /** The last byte of "card detected" (20 01 04 xx) for a card of ISO/IEC 14443-4: 04 DESFire Light, 0A to 0C EV1 to EV3. */
  readonly detectedAs?: number;
  /** How an answer that is a status word only is told: an empty container, as the manual has it (default), one with an empty item, or no tag 82. */
  readonly withoutData?: 'container' | 'item' | 'nothing';
}

const IDENTITY: HidIdentity = { vendorId: 0x0801, productId: 0x2020, release: 0x0100, manufacturer: 'MagTek', product: 'DynaFlex', serialNumber: 'B51A5C1' };
const REPORT_DESCRIPTOR = parseHex('0600FF0901A101150026FF007508954009208102954009219102C0');
const COMMAND = { START: 0x1001, CANCEL: 0x1008, PASS_THROUGH_DESFIRE: 0x1102 } as const;
const NOTIFICATION = { UPDATE: 0x0101, COMPLETE: 0x0105 } as const;
/** Operation status and its detail, tag 82 of a response. */
const STATUS = {
  DONE: '00000000', STARTED: '01000000', MALFORMED: '80010102', NOT_AVAILABLE: '80010113',
  NO_TRANSACTION: '80020304', TRANSACTION_IN_PROGRESS: '80020308', PASS_THROUGH_NOT_ACTIVATED: '80020312',
} as const;
/** Payment technology, reason, detail, extra. */
const EVENT = {
  REMOVED: '20010300', DETECTED_EMV: '20010400', COLLISION: '20010500', UID: '20080402',
  TIMED_OUT: '00010000', CANCELED_BY_HOST: '00030100', NOT_ACCEPTED: '20020900', COMPLETED: '20040000', TAG_REMOVED: '20050000',
} as const;
const READER_MODE_NFC = 0x02;
const FLOW = { MORE: 0x00, LAST: 0xff } as const;
/** "The card did not answer." */
const NO_ANSWER = parseHex('6400');
/** The manual: fixed, for a command to follow another. */
const PASS_THROUGH_LIMIT_MS = 30_000;

export class MagtekDevice extends HidUsbDevice {
  constructor(options: MagtekOptions) {
    super(IDENTITY, REPORT_DESCRIPTOR, options, (outlet, misbehave) => new MagtekFirmware(new TerminalPcd(options.field, options), outlet, misbehave, options));
  }
}

/** From Start Transaction to its end. */
interface Transaction {
  readonly takesNfc: boolean;
  hasCard: boolean;
  isLooking: boolean;
  isStirred: boolean;
  timer: NodeJS.Timeout | undefined;
  readonly stopLooking: () => void;
}

class MagtekFirmware implements HidFirmware {
  readonly #pcd: TerminalPcd;
  readonly #outlet: HidOutlet;
  readonly #misbehave: HidMisbehaviour;
  readonly #options: MagtekOptions;
  readonly #packets = new PacketAssembler();
  #transaction: Transaction | undefined;
  #generation = 0;

  constructor(pcd: TerminalPcd, outlet: HidOutlet, misbehave: HidMisbehaviour, options: MagtekOptions) {
    this.#pcd = pcd;
    this.#outlet = outlet;
    this.#misbehave = misbehave;
    this.#options = options;
  }

  receive(report: Bytes): void {
    const bytes = this.#packets.push(report);
    const message = bytes === undefined ? undefined : parseMessage(bytes);
    if (message?.type === MESSAGE_TYPE.REQUEST) this.#obey(message);
  }

  reset(): void {
    this.#generation++;
    this.#packets.drop();
    this.#end();
  }

  #obey(request: MmsMessage): void {
    const { command, payload } = request;
    const fields = payload !== undefined && payload[0] === command >> 8 && payload[1] === (command & 0xff) ? parseTlvs(payload.slice(2)) : undefined;
    if (fields === undefined) this.#respond(request, STATUS.MALFORMED);
    else if (command === COMMAND.START) this.#start(request, fields);
    else if (command === COMMAND.CANCEL) this.#cancel(request);
    else if (command === COMMAND.PASS_THROUGH_DESFIRE) void this.#passThrough(request, fields);
    else this.#respond(request, STATUS.NOT_AVAILABLE);
  }

  #start(request: MmsMessage, fields: readonly Tlv[]): void {
    const seconds = byteOf(fields, 0x82);
    const options = valueOf(fields, 0xa3);
    const modes = options === undefined ? [] : parseTlvs(options);
    if (seconds === undefined || modes === undefined) {
      this.#respond(request, STATUS.MALFORMED);
      return;
    }
    if (this.#transaction !== undefined || this.#misbehave.isTaken) {
      this.#respond(request, STATUS.TRANSACTION_IN_PROGRESS);
      return;
    }
    this.#respond(request, STATUS.STARTED);
    const transaction: Transaction = {
      takesNfc: ((byteOf(modes, 0x83) ?? 0x01) & READER_MODE_NFC) !== 0,
      hasCard: false,
      isLooking: false,
      isStirred: false,
      timer: undefined,
      stopLooking: this.#pcd.onStir(() => void this.#look(transaction)),
    };
    this.#transaction = transaction;
    if (seconds > 0) this.#limit(transaction, seconds * 1000);
    void this.#look(transaction);
  }

  #cancel(request: MmsMessage): void {
    if (this.#transaction === undefined) {
      this.#respond(request, STATUS.NO_TRANSACTION);
      return;
    }
    this.#respond(request, STATUS.DONE);
    this.#end(EVENT.CANCELED_BY_HOST);
  }

  /** For a card, or whether the card is still there; what stirs meanwhile is looked at afterwards. */
  async #look(transaction: Transaction): Promise<void> {
    transaction.isStirred = true;
    if (transaction.isLooking) return;
    transaction.isLooking = true;
    while (transaction.isStirred && this.#transaction === transaction) {
      transaction.isStirred = false;
      if (transaction.hasCard) {
        const isPresent = await this.#pcd.isPresent();
        if (!isPresent && this.#isUnderWay(transaction)) this.#tellRemoved();
      } else {
        const found = await this.#pcd.find();
        if (this.#isUnderWay(transaction)) this.#tellFound(transaction, found);
      }
    }
    transaction.isLooking = false;
  }

  #isUnderWay(transaction: Transaction): boolean {
    return this.#transaction === transaction;
  }

  #tellFound(transaction: Transaction, found: Found): void {
    if (found.kind === 'several') this.#notify(NOTIFICATION.UPDATE, EVENT.COLLISION);
    if (found.kind !== 'card') return;
    if (!transaction.takesNfc) {
      this.#notify(NOTIFICATION.UPDATE, EVENT.DETECTED_EMV);
      this.#end(EVENT.NOT_ACCEPTED);
      return;
    }
    transaction.hasCard = true;
    this.#limit(transaction, PASS_THROUGH_LIMIT_MS);
    this.#notify(NOTIFICATION.UPDATE, `200104${this.#describeCard(found).toString(16).padStart(2, '0')}`);
    const uid = encodeTlv(0xfc, encodeTlv(0xdf7a, found.uid));
    // Notification Payload: the notification's number, then tag 84 with the data; its wrapper is that of pass-through data (chosen).
    this.#notify(NOTIFICATION.UPDATE, EVENT.UID, concatBytes(parseHex('0101'), encodeTlv(0x84, uid)));
  }

  #describeCard({ sak, ats }: FoundCard): number {
    if (ats !== undefined) return this.#options.detectedAs ?? 0x04;
    return sak === 0x18 ? 0x03 : sak === 0x08 ? 0x02 : 0x01;
  }

  async #passThrough(request: MmsMessage, fields: readonly Tlv[]): Promise<void> {
    const command = valueOf(fields, 0x81);
    const encryption = byteOf(fields, 0x82) ?? 0;
    const flow = byteOf(fields, 0x83);
    if (command === undefined || command.length === 0 || encryption > 1 || (flow !== FLOW.MORE && flow !== FLOW.LAST)) {
      this.#respond(request, STATUS.MALFORMED);
      return;
    }
    const transaction = this.#transaction;
    // No key is loaded that answers could be encrypted with.
    if (encryption === 1 || transaction?.hasCard !== true || this.#misbehave.isTaken) {
      this.#respond(request, encryption === 1 ? STATUS.NOT_AVAILABLE : transaction === undefined ? STATUS.NO_TRANSACTION : STATUS.PASS_THROUGH_NOT_ACTIVATED);
      return;
    }
    clearTimeout(transaction.timer);
    const generation = this.#generation;
    const answer = await this.#pcd.exchange(command);
    if (generation !== this.#generation) return;
    const isAnswer = typeof answer !== 'string' && answer.length >= 2;
    this.#respond(request, STATUS.STARTED, isAnswer ? encodeAnswer(answer, this.#options.withoutData) : encodeTlv(0x81, NO_ANSWER));
    if (this.#transaction !== transaction) return;
    if (!isAnswer) this.#tellRemoved();
    else if (flow === FLOW.LAST) this.#end(EVENT.COMPLETED);
    else this.#limit(transaction, PASS_THROUGH_LIMIT_MS);
  }

  /** A card that fell silent is, for the firmware, a card that was removed. */
  #tellRemoved(): void {
    this.#notify(NOTIFICATION.UPDATE, EVENT.REMOVED);
    this.#end(EVENT.TAG_REMOVED);
  }

  #limit(transaction: Transaction, ms: number): void {
    clearTimeout(transaction.timer);
    transaction.timer = setTimeout(() => {
      if (this.#transaction === transaction) this.#end(EVENT.TIMED_OUT);
    }, ms).unref();
  }

  #end(event?: string): void {
    const transaction = this.#transaction;
    this.#transaction = undefined;
    clearTimeout(transaction?.timer);
    transaction?.stopLooking();
    this.#pcd.off();
    if (transaction !== undefined && event !== undefined) this.#notify(NOTIFICATION.COMPLETE, event);
  }

  #respond({ reference, command }: MmsMessage, status: string, fields?: Bytes): void {
    const payload = fields === undefined ? undefined : concatBytes(new Uint8Array([command >> 8, command & 0xff]), fields);
    const isWrong = takeOne(this.#misbehave, 'wrongNumbers');
    const message = encodeMessage({ type: MESSAGE_TYPE.RESPONSE, reference: isWrong ? reference ^ 0x55 : reference, command, status: parseHex(status), payload });
    if (takeOne(this.#misbehave, 'brokenAnswers')) message[0] = 0x00;
    this.#outlet.answer(splitIntoReports(message));
  }

  #notify(command: number, event: string, payload?: Bytes): void {
    this.#outlet.notify(splitIntoReports(encodeMessage({ type: MESSAGE_TYPE.NOTIFICATION, reference: 0, command, status: parseHex(event), payload })));
  }
}

/** Status word in 81; data, which may be none, in 82 as FC { DF7A }. */
function encodeAnswer(answer: Bytes, withoutData: MagtekOptions['withoutData'] = 'container'): Bytes {
  const data = answer.slice(0, -2);
  if (data.length === 0 && withoutData === 'nothing') return encodeTlv(0x81, answer);
  const container = encodeTlv(0xfc, data.length === 0 && withoutData === 'container' ? data : encodeTlv(0xdf7a, data));
  return concatBytes(encodeTlv(0x81, answer.slice(-2)), encodeTlv(0x82, container));
}

function valueOf(fields: readonly Tlv[], tag: number): Bytes | undefined {
  return fields.find((field) => field.tag === tag)?.value;
}

/** The value of a field of one byte. */
function byteOf(fields: readonly Tlv[], tag: number): number | undefined {
  const value = valueOf(fields, tag);
  return value?.length === 1 ? value[0] : undefined;
}
