/** The browser's port to the native host, as little of it as we use, with requests matched to answers and limits on everything. */
import * as v from 'valibot';
import { Failure, isFailureCode, type FailureCode } from '#protocol/failure.ts';
import { parseHex, type Bytes } from '#protocol/bytes.ts';
import { TransmitFailure } from '../card-channel.ts';
import { HostMessage, type ReaderList, type Request } from './messages.ts';

/** `chrome.runtime.Port` and `browser.runtime.Port` both fit. */
export interface NativePort {
  postMessage(message: unknown): void;
  disconnect(): void;
  readonly onMessage: { addListener(listener: (message: unknown) => void): void };
  readonly onDisconnect: { addListener(listener: () => void): void };
}

/** A request without its number. */
type WithoutId<T> = T extends unknown ? Omit<T, 'id'> : never;
export type RequestBody = WithoutId<Request>;

interface Waiting {
  resolve(result: unknown): void;
  reject(failure: Failure): void;
}

/** Says why a port closed: the host is not there, may not be called by us, or died. */
function closedFailure(reason: string | undefined, heardBefore: boolean): Failure {
  // Chromium: "Specified native messaging host not found." and "Access to the specified native messaging host is forbidden."; Firefox: "No such native application ...".
  const missing = !heardBefore && /not found|forbidden|no such native application/i.test(reason ?? '');
  return new Failure(missing ? 'host/missing' : 'host/failed', reason === undefined ? {} : { detail: reason });
}

export class HostPort {
  readonly #port: NativePort;
  readonly #waiting = new Map<number, Waiting>();
  readonly #onReaders: (list: ReaderList) => void;
  readonly #onClosed: (failure: Failure) => void;
  #lastId = 0;
  #heard = false;
  #closed: Failure | undefined;

  /** `lastError` reads the browser's reason for a closed port; it is asked inside the event, as Chromium demands. */
  constructor(port: NativePort, lastError: () => string | undefined, onReaders: (list: ReaderList) => void, onClosed: (failure: Failure) => void) {
    this.#port = port;
    this.#onReaders = onReaders;
    this.#onClosed = onClosed;
    port.onMessage.addListener((message) => this.#receive(message));
    port.onDisconnect.addListener(() => this.#end(closedFailure(lastError(), this.#heard)));
  }

  /** Resolves to the checked result. An answer that does not come in `limitMs` ends the host: it is `host/failed` for everyone. */
  async request<T>(body: RequestBody, result: v.GenericSchema<unknown, T>, limitMs: number, signal?: AbortSignal): Promise<T> {
    const answer = await this.#ask(body, limitMs, signal);
    const parsed = v.safeParse(result, answer);
    if (parsed.success) return parsed.output;
    const failure = new Failure('host/malformed', { detail: `the answer to ${body.op}` });
    this.close(failure);
    throw failure;
  }

  /** Ends the host; whoever still waits fails with `failure`. */
  close(failure: Failure = new Failure('host/failed', { detail: 'closed' })): void {
    if (this.#closed !== undefined) return;
    this.#port.disconnect();
    this.#end(failure);
  }

  #ask(body: RequestBody, limitMs: number, signal?: AbortSignal): Promise<unknown> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (signal?.aborted === true) return Promise.reject(abortFailure(signal));
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.close(new Failure('host/failed', { detail: `no answer to ${body.op} in ${limitMs} ms` })), limitMs);
      const abort = () => settle(() => reject(abortFailure(signal)));
      const settle = (then: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        // An answer to an aborted request still comes, and is then nobody's: see #receive.
        this.#waiting.delete(id);
        then();
      };
      this.#waiting.set(id, { resolve: (value) => settle(() => resolve(value)), reject: (failure) => settle(() => reject(failure)) });
      signal?.addEventListener('abort', abort);
      this.#post({ id, ...body });
    });
  }

  #post(message: Request): void {
    try {
      this.#port.postMessage(message);
    } catch (cause) {
      // Both browsers throw on a port that has closed a moment ago.
      this.#end(new Failure('host/failed', { cause }));
    }
  }

  #receive(message: unknown): void {
    this.#heard = true;
    const parsed = v.safeParse(HostMessage, message);
    if (!parsed.success) {
      this.close(new Failure('host/malformed', { detail: 'a message of an unknown shape' }));
      return;
    }
    const known = parsed.output;
    if ('event' in known) {
      this.#onReaders({ readers: known.readers, ...(known.problem === undefined ? {} : { problem: known.problem }) });
      return;
    }
    // Numbers that we never gave are the host's confusion; those that we gave up on are not.
    if (known.id > this.#lastId) {
      this.close(new Failure('host/malformed', { detail: 'an answer to no request' }));
      return;
    }
    const waiting = this.#waiting.get(known.id);
    if ('ok' in known) waiting?.resolve(known.ok);
    else waiting?.reject(hostFailure(known.error));
  }

  #end(failure: Failure): void {
    if (this.#closed !== undefined) return;
    this.#closed = failure;
    for (const waiting of [...this.#waiting.values()]) waiting.reject(failure);
    this.#onClosed(failure);
  }
}

function hostFailure(error: { code: string; responses?: string[] | undefined }): Failure {
  const code: FailureCode = isFailureCode(error.code) ? error.code : 'host/malformed';
  if (error.responses === undefined) return new Failure(code);
  return new TransmitFailure(code, error.responses.map((hex): Bytes => parseHex(hex)));
}

/** The reason that the flow gave, if it is one of ours; else `payment/aborted`. */
function abortFailure(signal: AbortSignal | undefined): Failure {
  const reason: unknown = signal?.reason;
  return reason instanceof Failure ? reason : new Failure('payment/aborted', { cause: reason });
}
