/** One exclusive PC/SC connection on a context of its own; a card that does not answer costs this context and nothing else. */
import { Failure } from '#protocol/failure.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardConnection } from '../backend.ts';
import { within } from '../within.ts';
import { DISPOSITION, type CardHandle, type ContextHandle, type PcscLibrary } from './library.ts';
import { SCARD, statusFailure } from './status.ts';

/** Powering a card up takes well under a second; a service that hangs must not hang us. */
const CONNECT_LIMIT_MS = 5_000;
const CLOSE_LIMIT_MS = 2_000;

/**
 * Opens the reader for us alone, without a transaction: Windows resets a card whose transaction is idle for 5 s,
 * and a person reads for longer than that before agreeing.
 */
export async function openPcscConnection(library: PcscLibrary, readerName: string): Promise<CardConnection> {
  const opening = open(library, readerName);
  const outcome = await within(CONNECT_LIMIT_MS, opening);
  if (!outcome.late) return outcome.value;
  // Nobody waits for it any more: whatever it still yields is given back.
  opening.then((connection) => connection.close(), () => undefined);
  throw new Failure('card/silent', { detail: 'SCardConnect does not return' });
}

async function open(library: PcscLibrary, readerName: string): Promise<PcscConnection> {
  const { status, context } = await library.establishContext();
  if (status !== SCARD.S_SUCCESS) throw statusFailure(status, 'SCardEstablishContext', false);
  const connected = await library.connectExclusively(context, readerName);
  if (connected.status !== SCARD.S_SUCCESS) {
    await library.releaseContext(context);
    throw statusFailure(connected.status, 'SCardConnect', false);
  }
  const { events } = await library.getStatusChange(context, 0, [{ name: readerName, current: 0 }]);
  return new PcscConnection(library, context, connected.card, connected.protocol, events[0]?.atr ?? new Uint8Array());
}

class PcscConnection implements CardConnection {
  readonly atr: Bytes;
  readonly #library: PcscLibrary;
  readonly #context: ContextHandle;
  readonly #card: CardHandle;
  readonly #protocol: number;
  #open = true;
  /** The latest call on this context, and whether it lost the card; nothing else may be called on the context meanwhile. */
  #exchange: Promise<boolean> = Promise.resolve(false);
  #closing: Promise<void> | undefined;

  constructor(library: PcscLibrary, context: ContextHandle, card: CardHandle, protocol: number, atr: Bytes) {
    this.#library = library;
    this.#context = context;
    this.#card = card;
    this.#protocol = protocol;
    this.atr = atr;
  }

  async transmit(apdu: Bytes, timeoutMs: number): Promise<Bytes> {
    if (!this.#open) throw new Failure('card/removed', { detail: 'the connection is over' });
    const exchange = this.#library.transmit(this.#card, this.#protocol, apdu);
    this.#exchange = exchange.then((result) => !isAnswer(result), () => true);
    const outcome = await within(timeoutMs, exchange);
    if (outcome.late) {
      // A second call on this context would freeze with the first: abandon it, and give it back only if the call ever returns.
      this.#open = false;
      void this.#giveBack();
      throw new Failure('card/silent', { detail: `no answer in ${timeoutMs} ms` });
    }
    const { status, response } = outcome.value;
    if (isAnswer(outcome.value)) return response;
    this.#open = false;
    this.#closing = this.#giveBack();
    // pcsc-lite reports a card torn away in the middle of a command as success with nothing in it.
    if (status === SCARD.S_SUCCESS) throw new Failure('card/removed', { detail: `an answer of ${response.length} bytes` });
    throw statusFailure(status, 'SCardTransmit', true);
  }

  async close(): Promise<void> {
    if (this.#open) {
      this.#open = false;
      this.#closing = this.#giveBack();
    }
    if (this.#closing !== undefined) await within(CLOSE_LIMIT_MS, this.#closing);
  }

  /**
   * The reset ends an authenticated session and an open transaction in the card: the next program starts clean. A card that is lost is
   * left alone: pcsc-lite notes a reset that fails as an empty reader, and a card put back before its next look is then never seen.
   */
  async #giveBack(): Promise<void> {
    const isLost = await this.#exchange;
    // The statuses have nobody to go to.
    await this.#library.disconnect(this.#card, isLost ? DISPOSITION.LEAVE_CARD : DISPOSITION.RESET_CARD);
    await this.#library.releaseContext(this.#context);
  }
}

function isAnswer({ status, response }: { status: number; response: Bytes }): boolean {
  return status === SCARD.S_SUCCESS && response.length >= 2;
}
