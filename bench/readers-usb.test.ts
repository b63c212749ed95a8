import { describe, expect, test } from 'vitest';
import { parseHex } from '#protocol/bytes.ts';
import { STALL, type UsbDevice } from '#card-firmware-sim/usb/usb-device.ts';
import { CountingDevice, difference, NO_TRANSFERS } from './readers-usb.ts';

/** Bulk 81 in and 02 out, interrupt 83 in. */
const CONFIGURATION = parseHex('090227000101008032090400000300000000070581024000000705020240000007058303080004');
const OUT_REQUEST = { requestType: 0x21, request: 9, value: 0x0200, index: 0, length: 3 };

function device(answers: Partial<UsbDevice> = {}): CountingDevice {
  return new CountingDevice({
    descriptors: { device: new Uint8Array(18), configuration: CONFIGURATION, strings: [], speed: 2 },
    transferOut: () => Promise.resolve(undefined),
    transferIn: () => Promise.resolve(new Uint8Array(5)),
    control: () => Promise.resolve(new Uint8Array(2)),
    clearHalt: () => undefined,
    reset: () => undefined,
    ...answers,
  });
}

const { signal } = new AbortController();

describe('counted transfers', () => {
  test('each kind with its bytes, data of a control request in its direction', async () => {
    const counting = device();
    await counting.transferOut(2, new Uint8Array(10));
    await counting.transferIn(1, 64, signal);
    await counting.control(OUT_REQUEST, new Uint8Array(3));
    const before = counting.tally;
    await counting.control({ ...OUT_REQUEST, requestType: 0xa1 }, new Uint8Array());
    expect(counting.tally).toEqual({ control: 2, out: 1, in: 1, bytesOut: 13, bytesIn: 7 });
    expect(difference(counting.tally, before)).toEqual({ ...NO_TRANSFERS, control: 1, bytesIn: 2 });
  });

  test('only the endpoints that were used say how the reader is reached', async () => {
    const counting = device();
    await counting.transferIn(1, 64, signal);
    expect([...counting.usedTypes]).toEqual(['bulk']);
    await counting.transferIn(3, 8, signal);
    expect([...counting.usedTypes]).toEqual(['bulk', 'interrupt']);
  });

  test('a transfer that was taken back, or refused, is none; an empty packet is one', async () => {
    const empty = { transferIn: () => Promise.resolve(new Uint8Array()) };
    const taken = device(empty);
    await taken.transferIn(1, 64, AbortSignal.abort());
    expect(taken.tally).toEqual(NO_TRANSFERS);
    const refused = device({ transferIn: () => Promise.resolve(STALL) });
    await refused.transferIn(1, 64, signal);
    expect(refused.tally).toEqual(NO_TRANSFERS);
    const ended = device(empty);
    await ended.transferIn(1, 64, signal);
    expect(ended.tally).toEqual({ ...NO_TRANSFERS, in: 1 });
  });
});
