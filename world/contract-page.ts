/** Runs in a page of a bare extension in a real browser: opens the product's readers there and lets a test in Node use them by number. */
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderPace } from '#bridge/device/attached-reader.ts';
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { asFailure, TransmitFailure, type FailureCode } from '#protocol/failure.ts';

export interface PageCommand {
  readonly apdu: string;
  readonly expectedStatus: number;
}
export type PageFailure = { readonly failed: FailureCode; readonly responses: readonly string[] };
export type Answered<T> = T | PageFailure;

export interface ContractPage {
  open(pace: ReaderPace): void;
  shut(): Promise<void>;
  connect(readerName: string, transmitLimitMs: number): Promise<Answered<{ channel: number }>>;
  /** `batch`: the number by which `abort` names it. */
  transmit(channel: number, batch: number, commands: readonly PageCommand[], aborted: boolean): Promise<Answered<{ responses: string[] }>>;
  abort(batch: number): void;
  close(channel: number): Promise<void>;
}

declare global {
  var contractPage: ContractPage;
  /** The test's side, put here by the browser's driver. */
  var readersChanged: (readers: readonly ReaderInfo[]) => void;
}

let source: ReaderSource | undefined;
const channels: CardChannel[] = [];
const aborts = new Map<number, AbortController>();
const never = new AbortController().signal;

async function answered<T>(work: Promise<T>): Promise<Answered<T>> {
  try {
    return await work;
  } catch (thrown) {
    const failure = asFailure(thrown);
    if (failure.code === 'internal/bug') console.error(failure.cause);
    return { failed: failure.code, responses: failure instanceof TransmitFailure ? failure.responses.map((response) => encodeHex(response)) : [] };
  }
}

globalThis.contractPage = {
  open: (pace) => {
    const opened = openDeviceReaders([createUsbBus(navigator.usb), createHidBus(navigator.hid)], pace);
    opened.onReaders((readers) => globalThis.readersChanged(readers));
    source = opened;
  },
  shut: () => source?.close() ?? Promise.resolve(),
  connect: (readerName, transmitLimitMs) =>
    answered(
      (async () => {
        if (source === undefined) throw new Error('not opened');
        return { channel: channels.push(await source.connect(readerName, never, transmitLimitMs)) - 1 };
      })(),
    ),
  transmit: (channel, batch, commands, aborted) => {
    const abort = new AbortController();
    aborts.set(batch, abort);
    if (aborted) abort.abort();
    const sent = commands.map(({ apdu, expectedStatus }) => ({ apdu: parseHex(apdu), expectedStatus }));
    return answered(channels[channel]?.transmit(sent, abort.signal).then((responses) => ({ responses: responses.map((response) => encodeHex(response)) })) ?? Promise.reject(new Error('no such channel')));
  },
  abort: (batch) => aborts.get(batch)?.abort(),
  close: (channel) => channels[channel]?.close() ?? Promise.resolve(),
};
