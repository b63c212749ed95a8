/** Carries a chip to PC/SC: the card's end of the virtual reader of vsmartcard (vpcd), a TCP client that answers one frame at a time. */
import { connect } from 'node:net';
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { Socket } from 'node:net';

/** What the reader talks to. */
interface VpcdChip {
  readonly atr: Uint8Array;
  process(command: Uint8Array): Promise<Bytes>;
  reset(): Promise<void>;
}

/**
 * What happens to one command: 'answer' it; 'lift-before': the card is lifted before the command reaches the chip;
 * 'lift-after': the chip carries it out, and the card is lifted before the answer leaves; 'mute': carried out, never answered.
 */
export type CommandFate = 'answer' | 'lift-before' | 'lift-after' | 'mute';

interface VpcdOptions {
  readonly host: string;
  readonly port: number;
  readonly chip: VpcdChip;
  /** Default: the chip's own. */
  readonly atr?: Uint8Array;
  /** Decides the fate of each command APDU; `index` counts from 0 since the card was inserted. */
  readonly beforeAnswer?: (command: Bytes, index: number) => CommandFate;
  /** Limit of one attempt to connect. */
  readonly connectTimeoutMs?: number;
}

/** A card that lies on the reader. */
export interface VpcdCard {
  /** Lifts the card; the command under way is finished inside the chip, its answer is lost. Safe to call twice. */
  remove(): void;
  /** Settles when the card is off the reader, the chip is reset and idle; with the reason if the reader broke the protocol or the connection. */
  readonly closed: Promise<Error | undefined>;
}

const CONNECT_TIMEOUT_MS = 5_000;
/** vpcd's one-byte frames. */
const CONTROL = { POWER_OFF: 0, POWER_ON: 1, RESET: 2, GET_ATR: 4 } as const;
const LENGTH_BYTES = 2;
/** A frame's length is the reader's word, two bytes of it; anything above a short APDU is answered by the chip with 6700. */
const MAX_FRAME_BYTES = LENGTH_BYTES + 0xffff;
const HIGH_BYTE = new Uint8Array([0]);
const NO_ANSWER_LOW_BYTE = new Uint8Array([0]);

/** Puts the card on the reader; rejects if the reader is not there. */
export async function connectVpcd(options: VpcdOptions): Promise<VpcdCard> {
  const socket = await openSocket(options);
  return new Conversation(socket, options);
}

function openSocket({ host, port, connectTimeoutMs = CONNECT_TIMEOUT_MS }: VpcdOptions): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    const timer = setTimeout(() => socket.destroy(new Error(`no answer from ${host}:${port} within ${connectTimeoutMs} ms`)), connectTimeoutMs);
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}

class Conversation implements VpcdCard {
  readonly closed: Promise<Error | undefined>;
  readonly #socket: Socket;
  readonly #options: VpcdOptions;
  #received: Bytes = new Uint8Array();
  #isBusy = false;
  #isHighByteSent = false;
  #commands = 0;
  #work: Promise<void> = Promise.resolve();

  constructor(socket: Socket, options: VpcdOptions) {
    this.#socket = socket;
    this.#options = options;
    let reason: Error | undefined;
    socket.on('error', (error) => (reason = error));
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        // Off the field: whatever was being carried out comes to its end, then the volatile state is gone.
        void this.#work.then(() => options.chip.reset()).then(() => {
          resolve(reason);
        });
      });
    });
    socket.on('data', (chunk) => {
      this.#receive(chunk);
    });
  }

  remove(): void {
    if (this.#isHighByteSent && !this.#socket.writableEnded) {
      // vpcd 3.3 takes pcscd down with it (SIGSEGV) when a length breaks off after its first byte: an empty answer ends it, and is none.
      this.#socket.end(NO_ANSWER_LOW_BYTE, () => this.#socket.destroy());
    } else this.#socket.destroy();
  }

  #receive(chunk: Uint8Array): void {
    this.#received = concatBytes(this.#received, chunk);
    // One frame is answered before the next is looked at; a reader that floods us is a broken one.
    if (this.#received.length > 2 * MAX_FRAME_BYTES) this.#socket.destroy(new Error('the reader sent more than one command at a time'));
    else this.#next();
  }

  #next(): void {
    if (this.#isBusy || this.#received.length < LENGTH_BYTES || this.#socket.destroyed) return;
    const [high = 0, low = 0] = this.#received;
    const length = (high << 8) | low;
    const isCommand = length > 1;
    // vpcd sends length and payload in two writes with Nagle on: the second waits for an acknowledgement, which we would
    // delay by 40 ms. Our answer is shorter than 256 bytes, so the high byte of its length is known: sent now, it carries
    // the acknowledgement.
    if (isCommand && !this.#isHighByteSent) {
      this.#isHighByteSent = true;
      this.#socket.write(HIGH_BYTE);
    }
    if (this.#received.length < LENGTH_BYTES + length) return;
    const payload = this.#received.slice(LENGTH_BYTES, LENGTH_BYTES + length);
    this.#received = this.#received.slice(LENGTH_BYTES + length);
    this.#isBusy = true;
    this.#work = (isCommand ? this.#command(payload) : this.#control(payload)).then(
      () => {
        this.#isBusy = false;
        this.#next();
      },
      (error: unknown) => {
        this.#socket.destroy(error instanceof Error ? error : new Error(String(error)));
      },
    );
  }

  async #control(payload: Bytes): Promise<void> {
    const control: number = payload[0] ?? -1;
    switch (control) {
      case CONTROL.POWER_OFF:
      case CONTROL.RESET:
        await this.#options.chip.reset();
        return;
      case CONTROL.POWER_ON:
        return;
      case CONTROL.GET_ATR:
        this.#send(this.#options.atr ?? this.#options.chip.atr);
        return;
      default:
        throw new Error(`the reader sent an unknown control byte: ${control < 0 ? 'none' : control}`);
    }
  }

  async #command(command: Bytes): Promise<void> {
    const fate = this.#options.beforeAnswer?.(command, this.#commands) ?? 'answer';
    this.#commands++;
    if (fate === 'lift-before') {
      this.remove();
      return;
    }
    const answer = await this.#options.chip.process(command);
    if (fate === 'lift-after') this.remove();
    else if (fate === 'answer') this.#send(answer);
  }

  #send(payload: Uint8Array): void {
    if (payload.length > 0xff) throw new Error(`an answer of ${payload.length} bytes does not fit after the byte that was sent early`);
    const frame = concatBytes(new Uint8Array([0, payload.length]), payload);
    if (!this.#socket.destroyed) this.#socket.write(this.#isHighByteSent ? frame.subarray(1) : frame);
    this.#isHighByteSent = false;
  }
}

interface InsertOptions extends VpcdOptions {
  /** Ends the card for good: it is lifted, and not put back. */
  readonly signal: AbortSignal;
  /** First and longest pause between two attempts; each pause is twice the one before. */
  readonly retryMs?: { readonly first: number; readonly longest: number };
  /** Hears of every change: the reader is away (once until it is there again), the card lies on it, the card is off. */
  readonly onChange?: (change: { readonly state: 'reader-away' | 'inserted' | 'removed'; readonly reason?: Error | undefined }) => void;
}

const RETRY_MS = { first: 50, longest: 1_000 };

/** Keeps the card on the reader: waits for a reader that is not there yet, and puts the card back when it comes again. Resolves once the signal is aborted. */
export async function keepInserted({ signal, retryMs = RETRY_MS, onChange, ...options }: InsertOptions): Promise<void> {
  let pauseMs = retryMs.first;
  let isAway = false;
  while (!signal.aborted) {
    const card = await connectVpcd(options).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
    if (card instanceof Error) {
      if (!isAway) onChange?.({ state: 'reader-away', reason: card });
      isAway = true;
      await pause(pauseMs, signal);
      pauseMs = Math.min(2 * pauseMs, retryMs.longest);
    } else {
      isAway = false;
      onChange?.({ state: 'inserted' });
      const startedAt = performance.now();
      const reason = await untilLifted(card, signal);
      onChange?.({ state: 'removed', reason });
      // A reader that drops the card at once, for example because another card lies on it, is asked less and less often.
      pauseMs = performance.now() - startedAt > retryMs.longest ? retryMs.first : Math.min(2 * pauseMs, retryMs.longest);
      await pause(pauseMs, signal);
    }
  }
}

async function untilLifted(card: VpcdCard, signal: AbortSignal): Promise<Error | undefined> {
  const lift = (): void => {
    card.remove();
  };
  signal.addEventListener('abort', lift, { once: true });
  if (signal.aborted) lift();
  const reason = await card.closed;
  signal.removeEventListener('abort', lift);
  return reason;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
  });
}
