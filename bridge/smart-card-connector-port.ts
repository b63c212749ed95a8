/** PC/SC calls by message to Google's Smart Card Connector extension (its docs/connector-app-api.md): numbered, limited, and every answer checked. */
import * as v from 'valibot';
import { Failure } from '#protocol/failure.ts';
import type { Clock } from './clock.ts';
import { statusFailure } from './host/pcsc/status.ts';
import type { NativePort } from './native/port.ts';

/** `chrome.runtime.connect(SMART_CARD_CONNECTOR_ID)`: the browser gives ports to other extensions the shape of those to native hosts. */
export type ConnectorPort = NativePort;

export const SMART_CARD_CONNECTOR_ID = 'khpfeaanjngmcnplbdlpegiifgpfgdco';

const REQUEST = 'pcsc_lite_function_call::request';
const RESPONSE = 'pcsc_lite_function_call::response';
/** More than any function of ours gives back. */
const MAX_RESULTS = 8;

const Integer = v.pipe(v.number(), v.safeInteger());
const Response = v.strictObject({
  type: v.literal(RESPONSE),
  data: v.union([
    v.strictObject({ request_id: Integer, payload: v.pipe(v.tupleWithRest([Integer], v.unknown()), v.maxLength(MAX_RESULTS)) }),
    v.strictObject({ request_id: Integer, error: v.string() }),
  ]),
});
const Ping = v.strictObject({ type: v.literal('ping'), data: v.strictObject({}) });
const Pong = v.strictObject({ type: v.literal('pong'), data: v.strictObject({ channel_id: Integer }) });
const Message = v.variant('type', [Response, Ping, Pong]);
const KNOWN_TYPES: readonly unknown[] = [RESPONSE, 'ping', 'pong'];
const Typed = v.object({ type: v.unknown() });

/** The status that the function returned, and what it gave out; undefined where no answer came in time. */
export type CallOutcome = { readonly status: number; readonly outs: readonly unknown[] } | undefined;

interface Waiting {
  resolve(outcome: CallOutcome): void;
  reject(failure: Failure): void;
}

export class ConnectorCalls {
  readonly #port: ConnectorPort;
  readonly #clock: Clock;
  readonly #onClosed: (failure: Failure) => void;
  readonly #waiting = new Map<number, Waiting>();
  /** Tells the Connector that we are still the one that it spoke with. */
  readonly #ourChannelId = Math.floor(Math.random() * 2 ** 31);
  #theirChannelId: number | undefined;
  #lastId = 0;
  #heard = false;
  /** A call of ours was carried out: we are let in. */
  #served = false;
  #closed: Failure | undefined;

  /** `lastError` reads the browser's reason for a closed port; it is asked inside the event, as Chromium demands. */
  constructor(port: ConnectorPort, lastError: () => string | undefined, clock: Clock, onClosed: (failure: Failure) => void) {
    this.#port = port;
    this.#clock = clock;
    this.#onClosed = onClosed;
    port.onMessage.addListener((message) => this.#receive(message));
    port.onDisconnect.addListener(() => {
      const detail = lastError() ?? 'the Smart Card Connector closed the connection';
      // One that never spoke is not installed.
      this.#end(new Failure(this.#heard ? 'reader/failed' : 'connector/missing', { detail }));
    });
    this.ping();
  }

  /** Asks the Connector whether it is the one that it was; another one knows nothing of our contexts, and ends this connection. */
  ping(): void {
    this.#post({ type: 'ping', data: {} });
  }

  /**
   * One call. Fails with `connector/refused` (the person, or the administrator, does not let us use the Connector: it refuses already the
   * first call), `connector/missing`, `reader/failed`, and with the reason of the signal.
   */
  call(functionName: string, functionArguments: readonly unknown[], limitMs: number, signal?: AbortSignal): Promise<CallOutcome> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (signal?.aborted === true) return Promise.reject(abortFailure(signal));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const settle = (then: () => void): void => {
        stopTimer();
        signal?.removeEventListener('abort', abort);
        // An answer that comes later all the same is nobody's: see #receive.
        this.#waiting.delete(id);
        then();
      };
      const abort = (): void => settle(() => reject(abortFailure(signal)));
      const stopTimer = this.#clock.after(limitMs, () => settle(() => resolve(undefined)));
      this.#waiting.set(id, { resolve: (outcome) => settle(() => resolve(outcome)), reject: (failure) => settle(() => reject(failure)) });
      signal?.addEventListener('abort', abort);
      this.#post({ type: REQUEST, data: { request_id: id, payload: { function_name: functionName, arguments: functionArguments } } });
    });
  }

  /** A call that must succeed: what it gave out, checked. Fails with what the status means, or `reader/failed`. */
  async demand<T>(functionName: string, functionArguments: readonly unknown[], outs: v.GenericSchema<unknown, T>, limitMs: number, signal?: AbortSignal): Promise<T> {
    const outcome = await this.call(functionName, functionArguments, limitMs, signal);
    if (outcome === undefined) throw new Failure('reader/failed', { detail: `${functionName} does not return` });
    if (outcome.status !== 0) throw statusFailure(outcome.status, functionName, false);
    return this.checked(functionName, outcome.outs, outs);
  }

  /** What a call gave out, if it has the shape that it must have; else the Connector is not believed any more. */
  checked<T>(functionName: string, outs: readonly unknown[], schema: v.GenericSchema<unknown, T>): T {
    const parsed = v.safeParse(schema, outs);
    if (parsed.success) return parsed.output;
    const failure = new Failure('reader/failed', { detail: `the Smart Card Connector's answer to ${functionName}` });
    this.close(failure);
    throw failure;
  }

  /** Whoever still waits fails with `failure`; safe to call twice. */
  close(failure: Failure = new Failure('reader/failed', { detail: 'closed' })): void {
    if (this.#closed !== undefined) return;
    this.#port.disconnect();
    this.#end(failure);
  }

  #post(message: unknown): void {
    try {
      this.#port.postMessage(message);
    } catch (cause) {
      // The browser throws on a port that has closed a moment ago.
      this.#end(new Failure('reader/failed', { cause }));
    }
  }

  #receive(message: unknown): void {
    if (this.#closed !== undefined) return;
    this.#heard = true;
    const typed = v.safeParse(Typed, message);
    // A later Connector may say more than we know.
    if (typed.success && typeof typed.output.type === 'string' && !KNOWN_TYPES.includes(typed.output.type)) return;
    const parsed = v.safeParse(Message, message);
    if (!parsed.success) {
      this.close(new Failure('reader/failed', { detail: 'a message of an unknown shape' }));
      return;
    }
    const { type, data } = parsed.output;
    if (type === 'ping') this.#post({ type: 'pong', data: { channel_id: this.#ourChannelId } });
    else if (type === 'pong') this.#meet(data.channel_id);
    else this.#answer(data);
  }

  #meet(channelId: number): void {
    this.#theirChannelId ??= channelId;
    if (channelId !== this.#theirChannelId) this.close(new Failure('reader/failed', { detail: 'the Smart Card Connector was started anew' }));
  }

  #answer(data: v.InferOutput<typeof Response>['data']): void {
    if (data.request_id < 1 || data.request_id > this.#lastId) {
      this.close(new Failure('reader/failed', { detail: 'an answer to no call' }));
      return;
    }
    const waiting = this.#waiting.get(data.request_id);
    if ('error' in data) {
      waiting?.reject(new Failure(this.#served ? 'reader/failed' : 'connector/refused', { detail: `the Smart Card Connector refuses: ${data.error.slice(0, 200)}` }));
      return;
    }
    this.#served = true;
    const [status, ...outs] = data.payload;
    waiting?.resolve({ status: status >>> 0, outs });
  }

  #end(failure: Failure): void {
    if (this.#closed !== undefined) return;
    this.#closed = failure;
    for (const waiting of [...this.#waiting.values()]) waiting.reject(failure);
    this.#onClosed(failure);
  }
}

/** The reason that the flow gave, if it is one of ours; else `payment/aborted`. */
export function abortFailure(signal: AbortSignal | undefined): Failure {
  const reason: unknown = signal?.reason;
  return reason instanceof Failure ? reason : new Failure('payment/aborted', { cause: reason });
}
