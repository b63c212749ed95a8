/** MagTek DynaFlex and DynaProx over WebHID: a contactless transaction finds the card, command 1102 passes command APDUs through, each sent once. */
import type { Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { SYSTEM_CLOCK, type Clock } from '../clock.ts';
import type { CardInField, ReaderDriver } from '../device/reader-driver.ts';
import type { HidDevice } from './hid-device.ts';
import {
  COMMAND, encodePassThrough, encodeReports, encodeRequest, MESSAGE_TYPE, MessageAssembly, NOTIFICATION, parseMessage, parsePassThrough, parseUid, START_NFC_TRANSACTION, type MmsMessage,
} from './magtek-messages.ts';
import { ReportPipe, type Report } from './report-pipe.ts';

/** What the reader may take for a command that only concerns itself. */
const ANSWER_LIMIT_MS = 1_000;
/** One look for a card; the transaction goes on behind it, so that a card that comes between two looks is not missed. */
const LOOK_MS = 400;
/** The reader's own, fixed limit between the commands of one card. */
const SESSION_LIMIT_MS = 30_000;
/** A card that nobody has spoken to is found anew before that limit may count against it. Whether it does the manual leaves open. */
const RENEW_AFTER_MS = 20_000;
/** After the news that the card left, an answer that was on its way may still come. */
const LAST_ANSWER_MS = 200;

/** Status word of 1102 where the card did not answer. A DESFire card never answers it to the commands that we send. */
const NO_ANSWER = 0x6400;
/** Byte 0 of an operation status: bit 7 is set where nothing came of it (80 not started, 81 failed). */
const FAILED = 0x80;
const CONTACTLESS = 0x20;
/** Details of notification 0101 for the contactless technology: reason, detail, extra. */
const CARD_REMOVED = 0x010300;
const CARD_DETECTED = 0x010400;
const NO_COMMAND_CARDS: readonly number[] = [0x010401, 0x010402, 0x010403];
const CARD_COLLISION = 0x010500;
const CARD_UID = 0x080402;

/** What the notifications have said of the field; a new object for each card. */
type Field = { readonly card: 'ready'; readonly uid: Bytes | undefined } | { readonly card: 'none' | 'detected' | 'unsupported' | 'several' };

export function createMagtek(device: HidDevice, clock: Clock = SYSTEM_CLOCK): ReaderDriver {
  return new MagtekReader(device, clock);
}

class MagtekReader implements ReaderDriver {
  readonly readerName: string;
  readonly #device: HidDevice;
  readonly #clock: Clock;
  #pipe: ReportPipe | undefined;
  #assembly = new MessageAssembly();
  #reference = 0;
  #transaction: 'running' | 'ended' = 'ended';
  #field: Field = { card: 'none' };
  #trouble: Failure | undefined;
  /** While opening: the end of a message to an earlier user of the reader is no reason to refuse it. */
  #opening = false;

  constructor(device: HidDevice, clock: Clock) {
    this.#device = device;
    this.#clock = clock;
    this.readerName = device.productName === '' ? 'MagTek' : device.productName;
  }

  async open(): Promise<void> {
    this.#pipe = new ReportPipe(this.#device, this.#clock);
    this.#assembly = new MessageAssembly();
    this.#trouble = undefined;
    // Not where an earlier user of the reader began: its late answers must not look like ours.
    this.#reference = crypto.getRandomValues(new Uint8Array(1))[0] ?? 0;
    await this.#pipe.open();
    this.#opening = true;
    await this.#cancel();
    this.#opening = false;
  }

  async findCard(): Promise<CardInField | undefined> {
    if (this.#trouble !== undefined) throw this.#trouble;
    const field = await this.#look(LOOK_MS);
    if (field.card === 'ready') return this.#card(field);
    if (field.card === 'none') return undefined;
    // The transaction has gone the way of payment cards, or is over: the next look needs a new one.
    await this.#cancel();
    throw new Failure(field.card === 'several' ? 'card/several' : 'card/unsupported');
  }

  async close(): Promise<void> {
    await this.#pipe?.close(this.#reportsOf(COMMAND.cancelTransaction, new Uint8Array()));
  }

  #card(found: Field & { readonly card: 'ready' }): CardInField {
    let field: Field = found;
    let used = false;
    let foundAt = this.#clock.now();
    return {
      uid: found.uid,
      transceive: (command, limitMs) => {
        used = true;
        return this.#transceive(field, command, limitMs);
      },
      isPresent: async () => {
        this.#hear();
        if (this.#field !== field) return false;
        if (used || this.#clock.now() - foundAt < RENEW_AFTER_MS) return true;
        await this.#cancel();
        field = await this.#look(LOOK_MS);
        foundAt = this.#clock.now();
        return field.card === 'ready';
      },
      release: async () => {
        try {
          await this.#cancel();
        } catch (thrown) {
          this.#trouble = asFailure(thrown);
        }
      },
    };
  }

  async #transceive(field: Field, command: Bytes, limitMs: number): Promise<Bytes> {
    const deadline = this.#clock.now() + Math.min(limitMs, SESSION_LIMIT_MS);
    this.#hear();
    if (this.#field !== field) throw new Failure('card/removed');
    const response = await this.#request(COMMAND.passThroughDesfire, encodePassThrough(command), deadline, () => this.#field !== field);
    if (response === undefined) throw new Failure(this.#field === field ? 'card/silent' : 'card/removed');
    const status = response.detail?.[0] ?? FAILED;
    const answer = status < FAILED ? orFailed(() => parsePassThrough(response.payload)) : undefined;
    if (answer !== undefined && !(answer.length === 2 && answer[0] === NO_ANSWER >> 8 && answer[1] === (NO_ANSWER & 0xff))) return answer;
    if (await this.#isStillThere(field, deadline)) {
      throw answer === undefined ? new Failure('reader/failed', { detail: `operation status ${status.toString(16)}` }) : new Failure('card/silent');
    }
    throw new Failure('card/removed');
  }

  /** 6400 says that no answer came, not why: if the card is found anew, it was there and mute. It has lost its session either way. */
  async #isStillThere(field: Field, deadline: number): Promise<boolean> {
    if (this.#field !== field) return false;
    const leftMs = deadline - this.#clock.now();
    // Too late for a look: without the news that it left, it counts as there.
    if (leftMs < LAST_ANSWER_MS) return true;
    await this.#cancel();
    return (await this.#look(Math.min(LOOK_MS, leftMs))).card === 'ready';
  }

  /** What lies in the field: at once if it is known, else after at most `limitMs`. */
  async #look(limitMs: number): Promise<Field> {
    this.#hear();
    if (this.#transaction === 'ended') await this.#startTransaction();
    const deadline = this.#clock.now() + limitMs;
    while (this.#field.card === 'none' || this.#field.card === 'detected') {
      const report = await this.#openPipe().next(deadline - this.#clock.now());
      if (report === undefined) break;
      this.#receive(report);
    }
    return this.#field;
  }

  async #startTransaction(): Promise<void> {
    this.#field = { card: 'none' };
    this.#transaction = 'running';
    const response = await this.#request(COMMAND.startTransaction, START_NFC_TRANSACTION, this.#clock.now() + ANSWER_LIMIT_MS);
    if (response === undefined) throw new Failure('reader/failed', { detail: 'the reader does not start a transaction' });
    const status = response.detail?.[0] ?? FAILED;
    if (status >= FAILED) throw new Failure('reader/failed', { detail: `no transaction: operation status ${status.toString(16)}` });
  }

  /** Ends the transaction, and with it the card's session; that there was none is as good. Its answer is behind all earlier ones. */
  async #cancel(): Promise<void> {
    const response = await this.#request(COMMAND.cancelTransaction, new Uint8Array(), this.#clock.now() + ANSWER_LIMIT_MS);
    if (response === undefined) throw new Failure('reader/failed', { detail: 'the reader does not answer' });
    this.#hear();
    this.#transaction = 'ended';
    this.#field = { card: 'none' };
  }

  /** One request and the response with its number; undefined: none in time, or none shortly after `isLost`. */
  async #request(command: number, parameters: Bytes, deadline: number, isLost = () => false): Promise<MmsMessage | undefined> {
    const pipe = this.#openPipe();
    this.#hear();
    const reports = this.#reportsOf(command, parameters);
    const reference = this.#reference;
    for (const { id, bytes } of reports) await pipe.send(id, bytes);
    let until = deadline;
    for (let lost = false; ; ) {
      const report = await pipe.next(until - this.#clock.now());
      if (report === undefined) return undefined;
      const message = this.#receive(report);
      if (message?.type === MESSAGE_TYPE.response && message.reference === reference && message.command === command) return message;
      if (!lost && isLost()) {
        lost = true;
        until = Math.min(until, this.#clock.now() + LAST_ANSWER_MS);
      }
    }
  }

  /** Takes in what has arrived meanwhile: notifications count, late answers do not. */
  #hear(): void {
    for (let report = this.#pipe?.take(); report !== undefined; report = this.#pipe?.take()) this.#receive(report);
  }

  #receive(report: Report): MmsMessage | undefined {
    const message = this.#parse(report);
    if (message?.type === MESSAGE_TYPE.notification) this.#note(message);
    return message;
  }

  #parse(report: Report): MmsMessage | undefined {
    try {
      const bytes = this.#assembly.accept(report.bytes);
      return bytes === undefined ? undefined : parseMessage(bytes);
    } catch (cause) {
      if (this.#opening) return undefined;
      throw nonsense(cause);
    }
  }

  #note({ command, detail = new Uint8Array(), payload }: MmsMessage): void {
    if (command === NOTIFICATION.transactionComplete) {
      this.#transaction = 'ended';
      this.#field = { card: 'none' };
    }
    if (command !== NOTIFICATION.transactionUpdate || detail[0] !== CONTACTLESS) return;
    const what = ((detail[1] ?? 0) << 16) | ((detail[2] ?? 0) << 8) | (detail[3] ?? 0);
    if (what === CARD_REMOVED) this.#field = { card: 'none' };
    else if (what === CARD_COLLISION) this.#field = { card: 'several' };
    else if (NO_COMMAND_CARDS.includes(what)) this.#field = { card: 'unsupported' };
    // A payment card says no more than this; one for pass-through is told by its UID, which the vendor's demo waits for.
    else if (what === CARD_DETECTED && this.#field.card === 'none') this.#field = { card: 'detected' };
    else if (what === CARD_UID && this.#field.card !== 'unsupported') this.#field = { card: 'ready', uid: parseUid(payload) };
  }

  #reportsOf(command: number, parameters: Bytes): Report[] {
    this.#reference = (this.#reference + 1) & 0xff;
    return encodeReports(encodeRequest(this.#reference, command, parameters)).map((bytes) => ({ id: 0, bytes }));
  }

  #openPipe(): ReportPipe {
    if (this.#pipe === undefined) throw new Failure('reader/failed', { detail: 'the reader is not open' });
    return this.#pipe;
  }
}

function nonsense(cause: unknown): Failure {
  return new Failure('reader/failed', { cause, detail: 'the reader sent nonsense' });
}

function orFailed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw nonsense(cause);
  }
}
