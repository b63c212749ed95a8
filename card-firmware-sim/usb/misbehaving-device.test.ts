import { describe, expect, it } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { ContactlessField } from './field.ts';
import { MisbehavingDevice } from './misbehaving-device.ts';
import type { BusFaults } from './misbehaving-device.ts';
import { RcS300 } from './rc-s300.ts';
import { STALL, UNPLUGGED } from './usb-device.ts';

const GET_SERIAL = parseHex('6B040000000042000000FF5F0300');
const SERIAL = '83090000000042020000303030303030319000';

function laidOut(faults: Partial<BusFaults> = {}) {
  const device = new MisbehavingDevice(new RcS300({ field: new ContactlessField() }), faults);
  const out = () => device.transferOut(2, GET_SERIAL);
  const read = async (signal = AbortSignal.timeout(2_000)) => {
    const answer = await device.transferIn(2, 1024, signal);
    return answer instanceof Uint8Array ? encodeHex(answer) : answer;
  };
  return { device, out, read };
}

describe('a device with a bad cable', () => {
  it('is the device, as long as nothing is ordered', async () => {
    const { device, out, read } = laidOut();
    expect(await out()).toBeUndefined();
    expect(await read()).toBe(SERIAL);
    expect(device.bytes).toBe(GET_SERIAL.length + SERIAL.length / 2);
  });

  it('halts the n-th transfer until the halt is cleared', async () => {
    const { device, out, read } = laidOut({ stallOutAt: 2 });
    await out();
    expect(await read()).toBe(SERIAL);
    expect(await out()).toBe(STALL);
    expect(await out()).toBe(STALL);
    device.clearHalt(0x02);
    await out();
    device.faults.stallInAt = 1;
    expect(await read()).toBe(STALL);
    expect(await read()).toBe(STALL);
    device.clearHalt(0x82);
    await out();
    expect(await read()).toBe(SERIAL);
  });

  it('loses the n-th answer without a trace', async () => {
    const { device, out, read } = laidOut({ swallowAt: 1 });
    await out();
    expect(await read(AbortSignal.timeout(20))).toBe('');
    await out();
    expect(await read()).toBe(SERIAL);
    expect(device.faults.swallowAt).toBe(0);
  });

  it('leaves at each byte of the traffic, and for good', async () => {
    const whole = GET_SERIAL.length + SERIAL.length / 2;
    for (let limit = 0; limit <= whole + 1; limit++) {
      const { device, out, read } = laidOut({ unplugAfterBytes: limit });
      expect(await out()).toBe(limit <= GET_SERIAL.length ? UNPLUGGED : undefined);
      expect(await read()).toBe(limit <= whole ? UNPLUGGED : SERIAL);
      expect(device.isUnplugged).toBe(limit <= whole);
    }
  });

  it('ends what is pending when it is pulled, and keeps data for the next when a slow read is withdrawn', async () => {
    const { device, out, read } = laidOut({ slowMs: 15 });
    await out();
    expect(await read(AbortSignal.timeout(2))).toBe('');
    expect(await read()).toBe(SERIAL);
    const pending = read();
    device.unplug();
    expect(await pending).toBe(UNPLUGGED);
    expect(await device.control({ requestType: 0xc0, request: 1, value: 0, index: 0, length: 0 }, parseHex(''))).toBe(UNPLUGGED);
  });
});
