/**
 * Readers of the APDU-over-HID profile (docs/apdu-hid.md), recognised by usage page FFA0. In short:
 * packets of 64 bytes `CHANNEL TAG …`; tags 00 version, 01 allocate, 02 ping (one packet each, bytes 7-63 come back as sent) and 05 message
 * (`SEQ`, in the first `LEN`, data). A channel is a session with a card: allocating one switches the field off. An answer of no bytes says that there
 * is no card (any more), an answer of one byte is the reader's own word, a longer one the card's. `FF CA 00 00 00` finds a card, or asks whether the active one is still there.
 */
import { MAX_RESPONSE_BYTES, responseData, statusWord } from '#protocol/apdu.ts';
import { equalBytes, parseHex, type Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { SYSTEM_CLOCK, type Clock } from '../clock.ts';
import type { CardInField, ReaderDriver } from '../device/reader-driver.ts';
import { encodeControl, encodeMessage, FIRST_CHANNEL, MessageAssembly, parsePacket, TAG, type Packet } from './apdu-hid-packets.ts';
import type { HidDevice } from './hid-device.ts';
import { ReportPipe } from './report-pipe.ts';

/** The profile gives the reader 1 s for each of these. */
const CONTROL_LIMIT_MS = 1_200;
/** The profile gives the reader 500 ms for a look. */
const LOOK_LIMIT_MS = 1_000;
const GET_UID = parseHex('FFCA000000');
/** Bytes 7-14 of a control packet: after the header, version or channel. */
const TOKEN_AT = 4;
const TOKEN_BYTES = 8;
/** The reader's own words: answers of one byte. */
const WORD = { cardSilent: 0x01, severalCards: 0x02, cardTakesNoCommands: 0x03 } as const;

export function createApduHid(device: HidDevice, clock: Clock = SYSTEM_CLOCK): ReaderDriver {
  return new ApduHidReader(device, clock);
}

class ApduHidReader implements ReaderDriver {
  readonly readerName: string;
  readonly #device: HidDevice;
  readonly #clock: Clock;
  #pipe: ReportPipe | undefined;
  #channel = FIRST_CHANNEL;
  /** What went wrong when a card was let go: told at the next look. */
  #trouble: Failure | undefined;

  constructor(device: HidDevice, clock: Clock) {
    this.#device = device;
    this.#clock = clock;
    this.readerName = device.productName === '' ? 'APDU over HID' : device.productName;
  }

  async open(): Promise<void> {
    this.#pipe = new ReportPipe(this.#device, this.#clock);
    this.#channel = FIRST_CHANNEL;
    this.#trouble = undefined;
    await this.#pipe.open();
    await this.#control(TAG.ping);
    const { payload } = await this.#control(TAG.version);
    if (payload.subarray(0, 4).some((byte) => byte !== 0)) throw new Failure('reader/failed', { detail: 'a version of the profile that we do not know' });
    await this.#allocate();
  }

  async findCard(): Promise<CardInField | undefined> {
    if (this.#trouble !== undefined) throw this.#trouble;
    const uid = await this.#askUid();
    return uid === undefined ? undefined : this.#card(uid);
  }

  async close(): Promise<void> {
    // Nobody waits for the answer: the reader switches its field off.
    await this.#pipe?.close([{ id: 0, bytes: encodeControl(this.#channel, TAG.allocate, new Uint8Array()) }]);
  }

  #card(uid: Bytes): CardInField {
    return {
      uid,
      transceive: (command, limitMs) => this.#transceive(command, limitMs),
      isPresent: async () => {
        const now = await this.#askUid();
        return now !== undefined && equalBytes(now, uid);
      },
      release: async () => {
        try {
          await this.#allocate();
        } catch (thrown) {
          this.#trouble = asFailure(thrown);
        }
      },
    };
  }

  async #transceive(command: Bytes, limitMs: number): Promise<Bytes> {
    // Class FF is the reader's: none of our commands has it.
    if (command[0] === 0xff) throw new Failure('internal/bug', { detail: 'a command of class FF for the card' });
    const answer = await this.#exchange(command, limitMs);
    if (answer === undefined) throw new Failure('card/silent');
    if (answer.length === 0) throw new Failure('card/removed');
    if (answer.length === 1) throw wordFailure(answer[0] ?? 0);
    return answer;
  }

  /** UID of the card in the field, found or still there; undefined: none. */
  async #askUid(): Promise<Bytes | undefined> {
    const answer = await this.#exchange(GET_UID, LOOK_LIMIT_MS);
    if (answer === undefined) throw new Failure('reader/failed', { detail: 'the reader does not answer' });
    if (answer.length === 0) return undefined;
    if (answer.length === 1) throw wordFailure(answer[0] ?? 0);
    const uid = responseData(answer);
    // Firmware made for PC/SC (part 3, 3.2.2.1.3) says it by status word.
    if (uid.length === 0 && [0x6300, 0x6a81].includes(statusWord(answer))) return undefined;
    if (statusWord(answer) !== 0x9000 || ![4, 7, 10].includes(uid.length)) throw new Failure('reader/failed', { detail: 'an unknown answer to get UID' });
    return uid;
  }

  async #allocate(): Promise<void> {
    const { payload } = await this.#control(TAG.allocate);
    this.#channel = ((payload[0] ?? 0) << 8) | (payload[1] ?? 0);
  }

  /** One message each way; undefined: no whole answer in time. */
  async #exchange(message: Bytes, limitMs: number): Promise<Bytes | undefined> {
    const pipe = this.#openPipe();
    const deadline = this.#clock.now() + limitMs;
    pipe.drain();
    for (const packet of encodeMessage(this.#channel, message)) await pipe.send(0, packet);
    const assembly = new MessageAssembly(this.#channel, MAX_RESPONSE_BYTES);
    for (;;) {
      const report = await pipe.next(deadline - this.#clock.now());
      if (report === undefined) return undefined;
      const answer = orFailed(() => assembly.accept(report.bytes));
      if (answer !== undefined) return answer;
    }
  }

  /** One control packet each way. What comes before its answer answers something earlier, and is dropped. */
  async #control(tag: number): Promise<Packet> {
    const pipe = this.#openPipe();
    const token = crypto.getRandomValues(new Uint8Array(TOKEN_BYTES));
    const payload = new Uint8Array(TOKEN_AT + TOKEN_BYTES);
    payload.set(token, TOKEN_AT);
    const deadline = this.#clock.now() + CONTROL_LIMIT_MS;
    pipe.drain();
    await pipe.send(0, encodeControl(this.#channel, tag, payload));
    for (;;) {
      const report = await pipe.next(deadline - this.#clock.now());
      if (report === undefined) throw new Failure('reader/failed', { detail: `the reader does not answer tag ${tag}` });
      const packet = orFailed(() => parsePacket(report.bytes));
      if (packet.tag === tag && equalBytes(packet.payload.subarray(TOKEN_AT, TOKEN_AT + TOKEN_BYTES), token)) return packet;
    }
  }

  #openPipe(): ReportPipe {
    if (this.#pipe === undefined) throw new Failure('reader/failed', { detail: 'the reader is not open' });
    return this.#pipe;
  }
}

function wordFailure(word: number): Failure {
  if (word === WORD.cardSilent) return new Failure('card/silent');
  if (word === WORD.severalCards) return new Failure('card/several');
  if (word === WORD.cardTakesNoCommands) return new Failure('card/unsupported');
  return new Failure('reader/failed', { detail: `the reader says ${word}` });
}

/** Nonsense on the wire is the reader's failure. */
function orFailed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw new Failure('reader/failed', { cause, detail: 'the reader sent nonsense' });
  }
}
