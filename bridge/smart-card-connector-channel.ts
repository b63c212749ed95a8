/** One exclusive PC/SC connection through the Smart Card Connector, on a context of its own: a card that does not answer costs this context and nothing else. */
import * as v from 'valibot';
import { isShortCommand, MAX_BATCH_COMMANDS, MAX_RESPONSE_BYTES, statusWord, type CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { TransmitFailure, type CardChannel } from './card-channel.ts';
import type { Clock } from './clock.ts';
import { statusFailure } from './host/pcsc/status.ts';
import { abortFailure, type ConnectorCalls } from './smart-card-connector-port.ts';

/** Arguments of the PC/SC functions (pcsclite.h). */
export const SCOPE_SYSTEM = 2;
const SHARE_EXCLUSIVE = 1;
const PROTOCOL_ANY = 3;
const DISPOSITION = { leaveCard: 0, resetCard: 1 } as const;

/** Powering a card up takes well under a second; so do the calls that only concern the service. */
const CONNECT_LIMIT_MS = 5_000;
export const SERVICE_LIMIT_MS = 3_000;

const Handle = v.pipe(v.number(), v.safeInteger());
export const Established = v.tuple([Handle]);
const Connected = v.tuple([Handle, v.picklist([1, 2, 4])]);
const Byte = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(255));
export const bytesOfAtMost = (bytes: number) => v.pipe(v.array(Byte), v.maxLength(bytes));
const Transmitted = v.tuple([v.unknown(), bytesOfAtMost(MAX_RESPONSE_BYTES)]);

export interface ConnectorChannelOptions {
  readonly calls: ConnectorCalls;
  readonly clock: Clock;
  readonly readerName: string;
  readonly transmitLimitMs: number;
  readonly onOver: () => void;
}

/** Fails with `reader/…`, `card/absent`, `card/silent`, `card/unsupported`, or the signal's reason; then nothing is held. */
export async function openConnectorChannel(options: ConnectorChannelOptions, signal: AbortSignal): Promise<CardChannel> {
  const { calls, readerName } = options;
  const [context] = await calls.demand('SCardEstablishContext', [SCOPE_SYSTEM, null, null], Established, SERVICE_LIMIT_MS, signal);
  try {
    // Not aborted on the wire: a connection that opens after the signal must be given back, so its handle is awaited.
    const connecting = calls.demand('SCardConnect', [context, readerName, SHARE_EXCLUSIVE, PROTOCOL_ANY], Connected, CONNECT_LIMIT_MS);
    const [card, protocol] = await connecting;
    const channel = new ConnectorChannel(options, context, card, protocol);
    if (!signal.aborted) return channel;
    await channel.close();
    throw abortFailure(signal);
  } catch (thrown) {
    release(calls, context);
    throw thrown;
  }
}

/** Nobody waits for it: the service frees what is left when the connection ends. */
function release(calls: ConnectorCalls, context: number): void {
  calls.call('SCardReleaseContext', [context], SERVICE_LIMIT_MS).catch(() => undefined);
}

class ConnectorChannel implements CardChannel {
  readonly readerName: string;
  readonly #options: ConnectorChannelOptions;
  readonly #context: number;
  readonly #card: number;
  readonly #protocol: number;
  #open = true;
  #givenBack: Promise<void> | undefined;
  /** One batch after another. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(options: ConnectorChannelOptions, context: number, card: number, protocol: number) {
    this.readerName = options.readerName;
    this.#options = options;
    this.#context = context;
    this.#card = card;
    this.#protocol = protocol;
  }

  transmit(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    if (commands.length > MAX_BATCH_COMMANDS || !commands.every(({ apdu }) => isShortCommand(apdu))) {
      return Promise.reject(new Failure('internal/bug', { detail: 'a batch that no reader takes' }));
    }
    return this.#inTurn(() => this.#exchangeBatch(commands, signal));
  }

  async close(): Promise<void> {
    // A batch under way stops after the command that is with the card.
    this.#open = false;
    await this.#inTurn(() => this.#giveBack(DISPOSITION.resetCard));
  }

  async #exchangeBatch(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    const responses: Bytes[] = [];
    const { clock, transmitLimitMs } = this.#options;
    const deadline = clock.now() + transmitLimitMs;
    try {
      if (!this.#isOpen()) throw new Failure('card/removed', { detail: 'the channel is over' });
      for (const { apdu, expectedStatus } of commands) {
        if (!this.#isOpen()) throw new Failure('card/removed', { detail: 'given back in the middle of a batch' });
        const response = await this.#exchange(apdu, deadline - clock.now(), signal);
        responses.push(response);
        if (statusWord(response) !== expectedStatus) break;
      }
      return responses;
    } catch (reason) {
      this.#open = false;
      // Not awaited: a card that is silent keeps its context until it answers. A reset ends its session, where it is still there.
      const failure = asFailure(reason);
      void this.#giveBack(failure.code === 'card/removed' ? DISPOSITION.leaveCard : DISPOSITION.resetCard);
      throw new TransmitFailure(failure.code, responses, { cause: failure });
    }
  }

  /** One command, sent once. */
  async #exchange(apdu: Bytes, limitMs: number, signal: AbortSignal): Promise<Bytes> {
    const { calls } = this.#options;
    if (limitMs <= 0) throw new Failure('card/silent', { detail: 'the time of the batch is over' });
    const outcome = await calls.call('SCardTransmit', [this.#card, { protocol: this.#protocol }, [...apdu], null], limitMs, signal);
    if (outcome === undefined) throw new Failure('card/silent');
    if (outcome.status !== 0) throw statusFailure(outcome.status, 'SCardTransmit', true);
    const [, response] = calls.checked('SCardTransmit', outcome.outs, Transmitted);
    // pcsc-lite reports a card torn away in the middle of a command as success with nothing in it.
    if (response.length < 2) throw new Failure('card/removed', { detail: `an answer of ${response.length} bytes` });
    return Uint8Array.from(response);
  }

  #giveBack(disposition: number): Promise<void> {
    this.#givenBack ??= this.#disconnect(disposition);
    return this.#givenBack;
  }

  async #disconnect(disposition: number): Promise<void> {
    const { calls, onOver } = this.#options;
    try {
      await calls.call('SCardDisconnect', [this.#card, disposition], SERVICE_LIMIT_MS);
    } catch {
      // A Connector that has gone has given the card back already.
    }
    release(calls, this.#context);
    onOver();
  }

  #inTurn<T>(act: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(act);
    this.#turn = mine.catch(() => undefined);
    return mine;
  }

  #isOpen(): boolean {
    return this.#open;
  }
}
