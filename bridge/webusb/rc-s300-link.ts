/** The conversation with an RC-S300: one message, its reply, and nothing that was meant for another. */
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { pause, type Clock } from '../clock.ts';
import { encodeMessage, HEADER_BYTES, parseHeader, parseObjects, parseReply, type Reply, type ReplyObjects } from './rc-s300-frames.ts';
import type { UsbPipe } from './usb-pipe.ts';

/** Statuses of an exchange that the caller judges; all others but 9000 are failures of the reader. */
export const OK = 0x9000;
export const SILENT_CARD = 0x6401;
/** Warning, no information, unspecified. */
const UNCLEAR: readonly number[] = [0x6282, 0x6300, 0x6f00];
const NO_ACCESS = 0x698a;

const MAX_STALE_ANSWERS = 8;
const MAX_TIME_EXTENSIONS = 100;
const BUSY_TRIES = 5;
const BUSY_PAUSE_MS = 50;

export class RcS300Link {
  readonly #pipe: UsbPipe;
  readonly #clock: Clock;
  #sequence: number;

  constructor(pipe: UsbPipe, clock: Clock, sequence = 0) {
    this.#pipe = pipe;
    this.#clock = clock;
    this.#sequence = sequence;
  }

  /** The same conversation over the pipe that follows a retired one. */
  over(pipe: UsbPipe): RcS300Link {
    return new RcS300Link(pipe, this.#clock, this.#sequence);
  }

  /** A pseudo-APDU whose reply is made of objects; `bearsCard`: what tells of the card, not of the reader, is left to the caller. */
  async command(request: Bytes, limitMs: number, bearsCard = false): Promise<ReplyObjects & { readonly status: number }> {
    const reply = await this.call(request, limitMs);
    const objects = parseObjects(reply.data);
    const { status } = judged({ status: objects.status !== undefined && objects.status !== OK ? objects.status : reply.status });
    const isBorne = bearsCard && (status === SILENT_CARD || UNCLEAR.includes(status));
    if (status !== OK && !isBorne) throw new Failure('reader/failed', { detail: `status ${status.toString(16)}` });
    return { ...objects, status };
  }

  /** One pseudo-APDU and its reply within the limit. Sent anew only while the reader says that its slot is busy: then it has done nothing. */
  async call(request: Bytes, limitMs: number): Promise<Reply> {
    for (let tries = 1; ; tries++) {
      const reply = await this.#converse(request, limitMs);
      if (reply !== 'busy') return judged(parseReply(reply));
      if (tries === BUSY_TRIES) throw new Failure('reader/in-use', { detail: 'slot busy' });
      await pause(this.#clock, BUSY_PAUSE_MS);
    }
  }

  async #converse(request: Bytes, limitMs: number): Promise<Bytes | 'busy'> {
    this.#sequence = (this.#sequence + 1) & 0xff;
    const deadline = this.#clock.now() + limitMs;
    await this.#pipe.write(encodeMessage(this.#sequence, request), limitMs);
    for (let stale = 0, extensions = 0; stale <= MAX_STALE_ANSWERS && extensions <= MAX_TIME_EXTENSIONS; ) {
      const message = await this.#read(deadline);
      if (message?.header.sequence !== this.#sequence) stale++;
      else if (message.header.outcome === 'done') return message.data;
      else if (message.header.outcome === 'busy') return 'busy';
      else if (message.header.outcome === 'more-time') extensions++;
      else throw new Failure('reader/failed', { detail: `error ${message.header.error.toString(16)}` });
    }
    throw new Failure('reader/failed', { detail: 'answers something else' });
  }

  /** The next message, in however many transfers; undefined: the rest of one whose beginning an earlier user has read. */
  async #read(deadline: number) {
    let bytes = await this.#transfer(deadline);
    while (bytes.length < HEADER_BYTES && bytes[0] === 0x83) bytes = concatBytes(bytes, await this.#transfer(deadline));
    const header = parseHeader(bytes);
    if (!header) return undefined;
    const messageBytes = HEADER_BYTES + header.dataBytes;
    while (bytes.length < messageBytes) bytes = concatBytes(bytes, await this.#transfer(deadline));
    // A transfer ends with its message.
    if (bytes.length > messageBytes) throw new Failure('reader/failed', { detail: 'message longer than it says' });
    return { header, data: bytes.slice(HEADER_BYTES) };
  }

  async #transfer(deadline: number): Promise<Bytes> {
    const bytes = await this.#pipe.read(deadline - this.#clock.now());
    if (!bytes) throw new Failure('reader/failed', { detail: 'does not answer' });
    return bytes;
  }
}

/** Another program has the reader's session. */
function judged<T extends { readonly status: number }>(reply: T): T {
  if (reply.status === NO_ACCESS) throw new Failure('reader/in-use', { detail: '69 8A' });
  return reply;
}
