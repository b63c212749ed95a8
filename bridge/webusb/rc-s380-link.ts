/** The conversation with an RC-S380: one command, its ACK, its reply, and nothing that was meant for another. */
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { Clock } from '../clock.ts';
import { ACK, COMMAND, encodeCommand, encodeRadioFrame, parseFrame, parseRadioAnswer, parseReply, type CommandCode, type Frame, type RadioAnswer } from './rc-s380-frames.ts';
import type { UsbPipe } from './usb-pipe.ts';

/** The reader's own time for one command, beside what it waits for a card. */
export const ANSWER_LIMIT_MS = 1000;
const MAX_STALE_FRAMES = 8;

export class RcS380Link {
  readonly #pipe: UsbPipe;
  readonly #clock: Clock;
  /** What has come and was not needed yet: ACK and reply may share a transfer. */
  #received: Bytes = new Uint8Array();

  constructor(pipe: UsbPipe, clock: Clock) {
    this.#pipe = pipe;
    this.#clock = clock;
  }

  /** An ACK from our side ends whatever the reader is doing; all that it had to say is thrown away. */
  async reset(quietMs: number, limitMs = ANSWER_LIMIT_MS): Promise<void> {
    await this.#pipe.write(ACK, limitMs);
    await this.#pipe.drain(quietMs);
    this.#received = new Uint8Array();
  }

  /** A command that only says whether it was done. */
  async set(code: CommandCode, args: Uint8Array, limitMs = ANSWER_LIMIT_MS): Promise<void> {
    const [status, ...rest] = await this.command(code, args, limitMs);
    if (status !== 0 || rest.length > 0) throw new Failure('reader/failed', { detail: `command ${code}: status ${status ?? 'missing'}` });
  }

  /** One frame to the card, and what came back within `timeoutMs`. */
  async radio(data: Uint8Array, timeoutMs: number): Promise<RadioAnswer> {
    return parseRadioAnswer(await this.command(COMMAND.inCommRf, encodeRadioFrame(data, timeoutMs), ANSWER_LIMIT_MS + timeoutMs));
  }

  /** Resolves to the arguments of the reply. */
  async command(code: CommandCode, args: Uint8Array, limitMs = ANSWER_LIMIT_MS): Promise<Bytes> {
    const deadline = this.#clock.now() + limitMs;
    await this.#pipe.write(encodeCommand(code, args), limitMs);
    let isAcknowledged = false;
    for (let stale = 0; stale <= MAX_STALE_FRAMES; stale++) {
      const frame = await this.#frame(deadline);
      if (frame.kind === 'error') throw new Failure('reader/failed', { detail: 'error frame' });
      if (frame.kind === 'ack') {
        isAcknowledged = true;
        continue;
      }
      // A reply before the ACK, or to another command, is one that an earlier user did not wait for.
      const reply = isAcknowledged ? parseReply(frame.payload, code) : undefined;
      if (reply) return reply;
    }
    throw new Failure('reader/failed', { detail: 'answers something else' });
  }

  async #frame(deadline: number): Promise<Frame> {
    for (;;) {
      const frame = this.#received.length > 0 ? parseFrame(this.#received) : undefined;
      if (frame) {
        this.#received = this.#received.slice(frame.frameBytes);
        return frame;
      }
      const bytes = await this.#pipe.read(deadline - this.#clock.now());
      if (!bytes) throw new Failure('reader/failed', { detail: 'does not answer' });
      this.#received = concatBytes(this.#received, bytes);
    }
  }
}
