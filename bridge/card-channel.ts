/** The narrow waist between a payment and a reader: batches of commands in, responses out, nothing repeated. */
import type { Bytes } from '#protocol/bytes.ts';
import type { CardCommand } from '#protocol/apdu.ts';

/** An open, exclusive conversation with one card. After any failure, and after close(), every further call fails with `card/removed`. */
export interface CardChannel {
  /** What a person calls the reader. */
  readonly readerName: string;
  /**
   * Sends the commands in order and stops after the first response whose status word is not the expected one.
   * Resolves to the responses, one a command sent (so fewer than commands if the batch stopped).
   * Throws TransmitFailure when the card or reader is gone: with the responses that came before; the command
   * under way may or may not have been carried out. Nothing is ever sent twice.
   */
  transmit(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]>;
  /** Gives the card back; safe to call twice. */
  close(): Promise<void>;
}

export { TransmitFailure } from '#protocol/failure.ts';
