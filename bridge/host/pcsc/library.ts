/** The nine PC/SC functions that the host calls, off the main thread, with numbers as numbers; nothing here decides anything. */
import type { LibraryHandle, out } from 'koffi';
import { Failure } from '#protocol/failure.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { MAX_RESPONSE_BYTES } from '#protocol/apdu.ts';
import { abiOfThisPlatform, ioRequestType, parseMultiString, readerStateType, type PcscAbi } from './abi.ts';
import { loadKoffi } from './koffi.ts';
import { SCARD } from './status.ts';

const SCOPE_SYSTEM = 2;
const SHARE = { EXCLUSIVE: 1, SHARED: 2, DIRECT: 3 } as const;
const PROTOCOL_T0_OR_T1 = 3;
/** What becomes of the card (SCARD_LEAVE_CARD, SCARD_RESET_CARD). */
export const DISPOSITION = { LEAVE_CARD: 0, RESET_CARD: 1 } as const;
export type Disposition = (typeof DISPOSITION)[keyof typeof DISPOSITION];
const READER_LIST_BYTES = 8192;

export type ContextHandle = number | bigint;
export type CardHandle = number | bigint;

export interface ReaderState {
  readonly name: string;
  /** What the caller knows (SCARD_STATE_* bits); 0 asks for the present state. */
  readonly current: number;
}
export interface ReaderEvent {
  readonly name: string;
  readonly event: number;
  readonly atr: Bytes;
}

export interface PcscLibrary {
  readonly abi: PcscAbi;
  establishContext(): Promise<{ status: number; context: ContextHandle }>;
  releaseContext(context: ContextHandle): Promise<number>;
  listReaders(context: ContextHandle): Promise<{ status: number; names: string[] }>;
  getStatusChange(context: ContextHandle, timeoutMs: number, readers: readonly ReaderState[]): Promise<{ status: number; events: ReaderEvent[] }>;
  /** Wakes the call that waits on this context; answers at once, so it is made on the main thread. */
  cancel(context: ContextHandle): number;
  connectExclusively(context: ContextHandle, reader: string): Promise<{ status: number; card: CardHandle; protocol: number }>;
  /** Connects to the reader whether or not a card lies on it. */
  connectToReader(context: ContextHandle, reader: string): Promise<{ status: number; card: CardHandle }>;
  /** Resets what lies on the reader, and powers it up where it had no power. */
  reconnectWithReset(card: CardHandle): Promise<number>;
  transmit(card: CardHandle, protocol: number, apdu: Bytes): Promise<{ status: number; response: Bytes }>;
  disconnect(card: CardHandle, disposition: Disposition): Promise<number>;
}

/** Loads the platform's library; fails with `reader/no-service` where there is none. */
export function loadPcscLibrary(abi: PcscAbi = abiOfThisPlatform()): PcscLibrary {
  return bindLibrary(openLibrary(abi), abi);
}

function openLibrary(abi: PcscAbi): LibraryHandle {
  const koffi = loadKoffi();
  let cause: unknown;
  for (const name of abi.libraries) {
    try {
      return koffi.load(name);
    } catch (reason) {
      cause = reason; // tried in order; the last reason is reported
    }
  }
  throw new Failure('reader/no-service', { cause, detail: `${abi.libraries.join(', ')} not found` });
}

interface NativeReaderState {
  szReader: string;
  pvUserData: null;
  dwCurrentState: number;
  dwEventState: number;
  cbAtr: number;
  rgbAtr: Uint8Array;
}

type NativeFunction = ReturnType<LibraryHandle['func']>;
type NativeType = Parameters<typeof out>[0];

/** Arguments of the calls under way. A native thread reads and writes these buffers, and koffi alone does not keep them from the collector. */
const callsUnderWay = new Set<readonly unknown[]>();

/** How many native calls have not come back; one on a mute card never does. */
export function countCallsUnderWay(): number {
  return callsUnderWay.size;
}

/** koffi's callback style as a promise of the status, as the unsigned 32 bits that the standard prints. */
function callAsync(native: NativeFunction, ...parameters: readonly unknown[]): Promise<number> {
  return new Promise((resolve, reject) => {
    callsUnderWay.add(parameters);
    native.async(...parameters, (error: unknown, status: number | bigint) => {
      callsUnderWay.delete(parameters);
      if (error instanceof Error) reject(error);
      else resolve(Number(BigInt.asUintN(32, BigInt(status))));
    });
  });
}

function bindLibrary(library: LibraryHandle, abi: PcscAbi): PcscLibrary {
  const koffi = loadKoffi();
  const bind = (name: string, parameters: NativeType[]) =>
    abi.convention === '' ? library.func(name, abi.long, parameters) : library.func(abi.convention, name, abi.long, parameters);
  const { dword, handle } = abi;
  const suffix = abi.wide ? 'W' : '';
  const text = abi.wide ? 'const char16_t *' : 'const char *';
  const outHandle = koffi.out(koffi.pointer(handle));
  const outDword = koffi.out(koffi.pointer(dword));
  const inOutDword = koffi.inout(koffi.pointer(dword));
  const readerStates = koffi.inout(koffi.pointer(readerStateType(abi)));
  const ioRequest = koffi.pointer(ioRequestType(abi));
  const ioRequestBytes = 2 * koffi.sizeof(dword);

  const establish = bind('SCardEstablishContext', [dword, 'void *', 'void *', outHandle]);
  const release = bind('SCardReleaseContext', [handle]);
  const list = bind(`SCardListReaders${suffix}`, [handle, text, 'void *', inOutDword]);
  const statusChange = bind(`SCardGetStatusChange${suffix}`, [handle, dword, readerStates, dword]);
  const cancel = bind('SCardCancel', [handle]);
  const connect = bind(`SCardConnect${suffix}`, [handle, text, dword, dword, outHandle, outDword]);
  const reconnect = bind('SCardReconnect', [handle, dword, dword, dword, outDword]);
  const transmit = bind('SCardTransmit', [handle, ioRequest, 'void *', dword, 'void *', 'void *', inOutDword]);
  const disconnect = bind('SCardDisconnect', [handle, dword]);

  return {
    abi,
    async establishContext() {
      const context: ContextHandle[] = [0];
      const status = await callAsync(establish, SCOPE_SYSTEM, null, null, context);
      return { status, context: context[0] ?? 0 };
    },
    releaseContext: (context) => callAsync(release, context),
    async listReaders(context) {
      const names = Buffer.alloc(READER_LIST_BYTES);
      const length = [abi.wide ? READER_LIST_BYTES / 2 : READER_LIST_BYTES];
      const status = await callAsync(list, context, null, names, length);
      return { status, names: status === SCARD.S_SUCCESS ? parseMultiString(names, abi.wide) : [] };
    },
    async getStatusChange(context, timeoutMs, readers) {
      const states: NativeReaderState[] = readers.map(({ name, current }) => ({
        szReader: name, pvUserData: null, dwCurrentState: current, dwEventState: 0, cbAtr: 0, rgbAtr: new Uint8Array(abi.atrBytes),
      }));
      const status = await callAsync(statusChange, context, timeoutMs, states, states.length);
      const events = states.map((state) => ({
        name: state.szReader, event: state.dwEventState, atr: new Uint8Array(state.rgbAtr.subarray(0, Math.min(state.cbAtr, abi.atrBytes))),
      }));
      return { status, events };
    },
    cancel: (context) => Number(cancel(context)),
    async connectExclusively(context, reader) {
      const card: CardHandle[] = [0];
      const protocol: (number | bigint)[] = [0];
      const status = await callAsync(connect, context, reader, SHARE.EXCLUSIVE, PROTOCOL_T0_OR_T1, card, protocol);
      return { status, card: card[0] ?? 0, protocol: Number(protocol[0] ?? 0) };
    },
    async connectToReader(context, reader) {
      const card: CardHandle[] = [0];
      const status = await callAsync(connect, context, reader, SHARE.DIRECT, 0, card, [0]);
      return { status, card: card[0] ?? 0 };
    },
    reconnectWithReset: (card) => callAsync(reconnect, card, SHARE.SHARED, PROTOCOL_T0_OR_T1, DISPOSITION.RESET_CARD, [0]),
    async transmit(card, protocol, apdu) {
      const response = new Uint8Array(MAX_RESPONSE_BYTES);
      const length: (number | bigint)[] = [response.length];
      const status = await callAsync(transmit, card, { dwProtocol: protocol, cbPciLength: ioRequestBytes }, apdu, apdu.length, null, response, length);
      return { status, response: response.slice(0, Math.min(Number(length[0] ?? 0), response.length)) };
    },
    disconnect: (card, disposition) => callAsync(disconnect, card, disposition),
  };
}
