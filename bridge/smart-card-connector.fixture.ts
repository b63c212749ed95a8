/** A Smart Card Connector that the test plays, with the contract's card on its reader. */
import { encodeHex } from '#protocol/bytes.ts';
import { answerOfContractCard } from './card-channel.contract.ts';
import type { ReaderSource } from './reader-source.ts';
import { openSmartCardConnector, type ConnectorPort } from './smart-card-connector.ts';

const ATR = [0x3b, 0x81, 0x80, 0x01, 0x80, 0x80];
export const EMPTY = 0x10;
export const PRESENT = 0x20;
export const EXCLUSIVE = 0x80;
export const never = new AbortController().signal;

interface Call {
  readonly name: string;
  readonly args: readonly unknown[];
}
export type Answer = readonly unknown[] | 'nothing' | { readonly error: string };

export class Connector {
  readonly calls: Call[] = [];
  readonly posted: { type: string; data: unknown }[] = [];
  readonly commands: string[] = [];
  readonly heldContexts = new Set<number>();
  readers = new Map<string, number>([['Reader', PRESENT]]);
  card: 'there' | 'gone' = 'there';
  connected = false;
  /** Answers one function in another way. */
  readonly instead = new Map<string, Answer>();
  disconnected = false;
  onCall: (name: string) => void = () => undefined;
  #waiting: (() => void) | undefined;
  #handle = 100;
  #onMessage: (message: unknown) => void = () => undefined;
  #onDisconnect: () => void = () => undefined;

  readonly port: ConnectorPort = {
    postMessage: (message) => this.#receive(message as { type: string; data: { request_id: number; payload: { function_name: string; arguments: unknown[] } } }),
    disconnect: () => void (this.disconnected = true),
    onMessage: { addListener: (listener) => void (this.#onMessage = listener) },
    onDisconnect: { addListener: (listener) => void (this.#onDisconnect = listener) },
  };

  open(signal = never): Promise<ReaderSource> {
    return openSmartCardConnector({ connect: () => this.port, lastError: () => 'gone', signal });
  }

  say(message: unknown): void {
    this.#onMessage(message);
  }

  die(): void {
    this.#onDisconnect();
  }

  /** The readers, or the card on one, are others now. */
  change(readers: [string, number][]): void {
    this.readers = new Map(readers);
    this.#waiting?.();
  }

  count(name: string): number {
    return this.calls.filter((call) => call.name === name).length;
  }

  #receive({ type, data }: { type: string; data: { request_id: number; payload: { function_name: string; arguments: unknown[] } } }): void {
    this.posted.push({ type, data });
    if (type !== 'pcsc_lite_function_call::request') return;
    const { function_name: name, arguments: args } = data.payload;
    this.calls.push({ name, args });
    this.onCall(name);
    const reply = (answer: Answer): void => {
      if (answer === 'nothing') return;
      const body = 'error' in answer ? answer : { payload: answer };
      queueMicrotask(() => this.#onMessage({ type: 'pcsc_lite_function_call::response', data: { request_id: data.request_id, ...body } }));
    };
    const instead = this.instead.get(name);
    if (instead !== undefined) reply(instead);
    else if (name === 'SCardGetStatusChange' && args[1] !== 0) this.#waiting = () => reply([0, []]);
    else reply(this.#answer(name, args));
  }

  #answer(name: string, args: readonly unknown[]): Answer {
    switch (name) {
      case 'SCardEstablishContext':
        this.heldContexts.add(++this.#handle);
        return [0, this.#handle];
      case 'SCardReleaseContext':
        this.heldContexts.delete(args[0] as number);
        return [0];
      case 'SCardListReaders':
        return this.readers.size === 0 ? [0x8010002e] : [0, [...this.readers.keys()]];
      case 'SCardGetStatusChange':
        return [0, [...this.readers].map(([reader_name, event_state]) => ({ reader_name, current_state: 0, event_state, atr: (event_state & PRESENT) === 0 ? [] : ATR }))];
      case 'SCardConnect':
        if (this.connected) return [0x8010000b];
        this.connected = true;
        return [0, ++this.#handle, 2];
      case 'SCardDisconnect':
        this.connected = false;
        return [0];
      default:
        return this.#transmit(Uint8Array.from(args[2] as number[]));
    }
  }

  #transmit(apdu: Uint8Array): Answer {
    if (this.card === 'gone') return [0x80100069];
    this.commands.push(encodeHex(apdu));
    const answer = answerOfContractCard(apdu);
    if (answer === 'mute') return 'nothing';
    // pcsc-lite: success with nothing in it.
    return [0, { protocol: 2 }, answer === 'tear' ? [] : [...answer]];
  }
}
