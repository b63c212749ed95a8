/** On ChromeOS: the PC/SC readers of Google's Smart Card Connector extension, as they come and go, and exclusive channels to the cards on them. */
import * as v from 'valibot';
import { encodeHex } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import type { CardChannel } from './card-channel.ts';
import { SYSTEM_CLOCK, type Clock } from './clock.ts';
import { SCARD, STATE, statusFailure } from './host/pcsc/status.ts';
import { MAX_READERS, MAX_TRANSMIT_MS } from './native/messages.ts';
import type { ReaderInfo, ReaderSource } from './reader-source.ts';
import { bytesOfAtMost, Established, openConnectorChannel, SCOPE_SYSTEM, SERVICE_LIMIT_MS } from './smart-card-connector-channel.ts';
import { ConnectorCalls, SMART_CARD_CONNECTOR_ID, type ConnectorPort } from './smart-card-connector-port.ts';

export { SMART_CARD_CONNECTOR_ID };
export type { ConnectorPort };

/** At the first call the Connector asks the person whether we may use it, and answers when they have decided. */
const DECISION_LIMIT_MS = 120_000;
const TRANSMIT_LIMIT_MS = 10_000;
/** pcsc-lite does not announce that another program took or left a card; so we look again this often. */
const LOOK_AGAIN_MS = 2_000;
/** Before a service that failed is asked anew. */
const RETRY_MS = 1_000;
/** Between two looks, however often something changes. */
const PACE_MS = 50;
/** Readers may leave between the list and the look, but not for ever. */
const MAX_LOOKS = 20;
/** A reader by this name stands for "readers have come or gone"; in the upper half of its state stands the number that we know of. */
const PNP_NOTIFICATION = '\\\\?PnP?\\Notification';
/** Something happened, nothing happened in time, or a reader has left. */
const LOOK_AGAIN: readonly number[] = [SCARD.S_SUCCESS, SCARD.E_TIMEOUT, SCARD.E_UNKNOWN_READER];

const ReaderName = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
const Listed = v.tuple([v.pipe(v.array(ReaderName), v.maxLength(64))]);
const ReaderEvent = v.object({ reader_name: ReaderName, event_state: v.pipe(v.number(), v.safeInteger()), atr: v.optional(bytesOfAtMost(36), []) });
const Looked = v.tuple([v.pipe(v.array(ReaderEvent), v.maxLength(64))]);
type ReaderEvent = v.InferOutput<typeof ReaderEvent>;

export interface SmartCardConnectorOptions {
  /** `() => chrome.runtime.connect(SMART_CARD_CONNECTOR_ID)`. */
  readonly connect: () => ConnectorPort;
  /** `() => chrome.runtime.lastError?.message`: the browser's reason for a port that closed. */
  readonly lastError?: () => string | undefined;
  readonly signal: AbortSignal;
  readonly clock?: Clock;
}

/**
 * Connects and learns the readers. Fails with `connector/missing`, `connector/refused` (we may not use it), `connector/failed`, `reader/no-service` (it has no PC/SC).
 * A conversation that ended is over: its source has no readers, and the problem `connector/failed`.
 */
export async function openSmartCardConnector({ connect, lastError = () => undefined, signal, clock = SYSTEM_CLOCK }: SmartCardConnectorOptions): Promise<ReaderSource> {
  const source = new ConnectorReaders(startPort(connect), lastError, clock);
  try {
    await source.begin(signal);
    return source;
  } catch (reason) {
    void source.close();
    const failure = asFailure(reason);
    throw failure.code === 'reader/failed' ? new Failure('connector/failed', { cause: failure }) : failure;
  }
}

function startPort(connect: () => ConnectorPort): ConnectorPort {
  try {
    return connect();
  } catch (cause) {
    // connect throws for an extension that is not there, in some versions of the browser.
    throw new Failure('connector/missing', { cause });
  }
}

class ConnectorReaders implements ReaderSource {
  readonly #calls: ConnectorCalls;
  readonly #clock: Clock;
  readonly #callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  /** Readers whose card is with a channel of ours. */
  readonly #ours = new Map<string, number>();
  #before: readonly ReaderEvent[] = [];
  #closed = false;
  readers: readonly ReaderInfo[] = [];
  problem: Failure | undefined;

  constructor(port: ConnectorPort, lastError: () => string | undefined, clock: Clock) {
    this.#clock = clock;
    this.#calls = new ConnectorCalls(port, lastError, clock, (failure) => {
      this.#closed = true;
      this.#update([], new Failure('connector/failed', { cause: failure }));
    });
  }

  async begin(signal: AbortSignal): Promise<void> {
    const [context] = await this.#calls.demand('SCardEstablishContext', [SCOPE_SYSTEM, null, null], Established, DECISION_LIMIT_MS, signal);
    const events = await this.#look(context);
    void this.#follow(context, events);
  }

  onReaders(callback: (readers: readonly ReaderInfo[]) => void): () => void {
    this.#callbacks.add(callback);
    return () => void this.#callbacks.delete(callback);
  }

  async connect(readerName: string, signal: AbortSignal, transmitLimitMs: number = TRANSMIT_LIMIT_MS): Promise<CardChannel> {
    const held = (change: number): void => void this.#ours.set(readerName, (this.#ours.get(readerName) ?? 0) + change);
    held(1);
    const options = {
      calls: this.#calls,
      clock: this.#clock,
      readerName,
      transmitLimitMs: Math.min(Math.max(1, Math.floor(transmitLimitMs)), MAX_TRANSMIT_MS),
      onOver: () => held(-1),
    };
    try {
      return await openConnectorChannel(options, signal);
    } catch (reason) {
      held(-1);
      throw reason;
    }
  }

  close(): Promise<void> {
    this.#closed = true;
    this.#callbacks.clear();
    this.#calls.close();
    return Promise.resolve();
  }

  /** Looks, reports, and waits for the next reason to look, until closed; through a service that fails. */
  async #follow(context: number | undefined, events: readonly ReaderEvent[]): Promise<void> {
    let [watched, seen] = [context, events];
    while (!this.#isClosed()) {
      try {
        watched ??= (await this.#calls.demand('SCardEstablishContext', [SCOPE_SYSTEM, null, null], Established, SERVICE_LIMIT_MS))[0];
        await this.#awaitChange(watched, seen);
        this.#calls.ping();
        await this.#pause(PACE_MS);
        seen = await this.#look(watched);
      } catch (reason) {
        if (this.#isClosed()) return;
        if (watched !== undefined) this.#calls.call('SCardReleaseContext', [watched], SERVICE_LIMIT_MS).catch(() => undefined);
        [watched, seen] = [undefined, []];
        this.#before = [];
        const { code } = asFailure(reason);
        // A service that dies breaks off the conversation, which would be the card's fault in one with a card.
        this.#update([], code.startsWith('card/') ? new Failure('reader/no-service', { cause: reason }) : asFailure(reason));
        await this.#pause(RETRY_MS);
      }
    }
  }

  async #look(context: number): Promise<readonly ReaderEvent[]> {
    for (let tries = 0; tries < MAX_LOOKS; tries++) {
      const listed = await this.#calls.call('SCardListReaders', [context, null], SERVICE_LIMIT_MS);
      const names = listed?.status === SCARD.E_NO_READERS_AVAILABLE ? [] : this.#outs('SCardListReaders', listed, Listed)[0].slice(0, MAX_READERS);
      if (names.length === 0) return this.#report([]);
      const looked = await this.#calls.call('SCardGetStatusChange', [context, 0, names.map((name) => ({ reader_name: name, current_state: 0 }))], SERVICE_LIMIT_MS);
      if (looked?.status !== SCARD.E_UNKNOWN_READER) return this.#report(this.#outs('SCardGetStatusChange', looked, Looked)[0]);
      // One left between the list and the look.
      await this.#pause(PACE_MS);
    }
    throw new Failure('reader/failed', { detail: 'the readers are never those that were listed' });
  }

  async #awaitChange(context: number, seen: readonly ReaderEvent[]): Promise<void> {
    const known = seen.map(({ reader_name, event_state }) => ({ reader_name, current_state: event_state & ~STATE.CHANGED }));
    known.push({ reader_name: PNP_NOTIFICATION, current_state: seen.length << 16 });
    const waited = await this.#calls.call('SCardGetStatusChange', [context, LOOK_AGAIN_MS, known], LOOK_AGAIN_MS + SERVICE_LIMIT_MS);
    if (waited === undefined || !LOOK_AGAIN.includes(waited.status)) throw statusFailure(waited?.status ?? SCARD.E_NO_SERVICE, 'SCardGetStatusChange', false);
  }

  #outs<T>(functionName: string, outcome: Awaited<ReturnType<ConnectorCalls['call']>>, schema: v.GenericSchema<unknown, T>): T {
    if (outcome === undefined) throw new Failure('reader/failed', { detail: `${functionName} does not return` });
    if (outcome.status !== SCARD.S_SUCCESS) throw statusFailure(outcome.status, functionName, false);
    return this.#calls.checked(functionName, outcome.outs, schema);
  }

  #report(events: readonly ReaderEvent[]): readonly ReaderEvent[] {
    const readers = events.filter(({ event_state }) => (event_state & (STATE.UNKNOWN | STATE.UNAVAILABLE)) === 0);
    const infos = readers.map((event) => this.#infoOf(event));
    // Whoever waits for a card to be taken away must hear of it, also if we looked too late to see the reader without one.
    if (readers.some((event) => isExchanged(event, this.#before))) {
      this.#update(infos.map((info, index) => (isExchanged(readers[index], this.#before) ? { name: info.name, state: 'empty' } : info)), undefined);
    }
    this.#before = readers;
    this.#update(infos, undefined);
    return events;
  }

  #infoOf({ reader_name: name, event_state: event, atr }: ReaderEvent): ReaderInfo {
    if ((event & STATE.PRESENT) === 0) return { name, state: 'empty' };
    if ((event & STATE.MUTE) !== 0) return { name, state: 'mute' };
    const isTaken = (event & (STATE.EXCLUSIVE | STATE.INUSE)) !== 0 && (this.#ours.get(name) ?? 0) === 0;
    return { name, state: isTaken ? 'in-use' : 'present', atr: encodeHex(Uint8Array.from(atr)) };
  }

  #update(readers: readonly ReaderInfo[], problem: Failure | undefined): void {
    if (JSON.stringify([readers, problem?.code]) === JSON.stringify([this.readers, this.problem?.code])) return;
    this.readers = readers;
    this.problem = problem;
    for (const callback of [...this.#callbacks]) callback(readers);
  }

  #isClosed(): boolean {
    return this.#closed;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#clock.after(ms, resolve));
  }
}

/** A card lies there as before, but cards were taken and laid down meanwhile: the upper half of the state counts them. */
function isExchanged(event: ReaderEvent | undefined, before: readonly ReaderEvent[]): boolean {
  const earlier = before.find(({ reader_name }) => reader_name === event?.reader_name);
  if (event === undefined || earlier === undefined) return false;
  return (event.event_state & earlier.event_state & STATE.PRESENT) !== 0 && event.event_state >>> 16 !== earlier.event_state >>> 16;
}
