import { describe, expect, test } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { FakeUsbDevice, JumpingClock, type Reaction } from './usb-device.fixture.ts';
import { openUsbPipe } from './usb-pipe.ts';

const INTERFACES = [
  { number: 0, class: 0x0b, input: 1, output: 1 },
  { number: 1, class: 0xff, input: 2, output: 2 },
];

function fake(react: (data: Bytes) => readonly Reaction[] = (data) => [data]) {
  return new FakeUsbDevice({ productId: 0x0dc8, interfaces: INTERFACES, react });
}

async function open(react?: (data: Bytes) => readonly Reaction[]) {
  const device = fake(react);
  const clock = new JumpingClock();
  return { device, clock, pipe: await openUsbPipe(device, { clock, claimRefused: 'reader/in-use' }) };
}

const read = async (pipe: { read(limitMs: number): Promise<Bytes | undefined> }, limitMs = 100) => {
  const bytes = await pipe.read(limitMs);
  return bytes && encodeHex(bytes);
};

describe('opening', () => {
  test('takes the interface of class FF, whatever its number', async () => {
    const { device } = await open();
    expect(device.calls).toEqual(['open', 'selectConfiguration 1', 'claimInterface 1']);
  });

  test('leaves a configuration that is set, and ends what an earlier user left pending', async () => {
    const { device, clock } = await open();
    device.calls.length = 0;
    await openUsbPipe(device, { clock, claimRefused: 'reader/in-use' });
    expect(device.calls).toEqual(['close', 'open', 'claimInterface 1']);
  });

  test.each<['open' | 'claimInterface' | 'selectConfiguration', string, string]>([
    ['open', 'SecurityError', 'reader/permission'],
    ['open', 'NotFoundError', 'reader/failed'],
    ['open', 'NetworkError', 'reader/failed'],
    ['claimInterface', 'NetworkError', 'reader/driver'],
    ['claimInterface', 'SecurityError', 'reader/permission'],
    ['claimInterface', 'NotFoundError', 'reader/failed'],
    ['selectConfiguration', 'NetworkError', 'reader/driver'],
  ])('%s that fails with %s is %s', async (call, name, code) => {
    const device = fake();
    device.refuse[call] = name;
    await expect(openUsbPipe(device, { clock: new JumpingClock(), claimRefused: 'reader/driver' })).rejects.toMatchObject({ code });
    expect(device.opened).toBe(false);
  });

  test('a device without such an interface is given back', async () => {
    const device = new FakeUsbDevice({ productId: 1, interfaces: INTERFACES.slice(0, 1), react: () => [] });
    await expect(openUsbPipe(device, { clock: new JumpingClock(), claimRefused: 'reader/in-use' })).rejects.toMatchObject({ code: 'reader/failed' });
    expect(device.opened).toBe(false);
  });

  test('a system that does not answer is not waited for without end', async () => {
    const device = fake();
    device.open = () => new Promise(() => undefined);
    await expect(openUsbPipe(device, { clock: new JumpingClock(), claimRefused: 'reader/in-use' })).rejects.toMatchObject({ code: 'reader/failed' });
  });
});

describe('transfers', () => {
  test('a read that came too late is taken over by the next: none steals its answer', async () => {
    const { device, pipe } = await open(() => []);
    expect(await read(pipe)).toBeUndefined();
    expect(await read(pipe)).toBeUndefined();
    device.bring(parseHex('01'));
    device.bring(parseHex('02'));
    expect([await read(pipe), await read(pipe)]).toEqual(['01', '02']);
    expect(device.violations).toEqual([]);
  });

  test.each([[63, 1], [64, 2], [65, 1], [128, 2]])('%i bytes are %i transfers: a full last packet is followed by an empty one', async (length, transfers) => {
    const { device, pipe } = await open();
    await pipe.write(new Uint8Array(length), 100);
    expect(device.sent).toHaveLength(transfers);
  });

  test('empty packets are passed over, but not for ever', async () => {
    const { device, pipe } = await open();
    for (const hex of ['', '', '01']) device.bring(parseHex(hex));
    expect(await read(pipe)).toBe('01');
    for (let i = 0; i < 20; i++) device.bring(new Uint8Array());
    await expect(pipe.read(100)).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('a stalled read is cleared and tried once more', async () => {
    const { device, pipe } = await open();
    device.bring('stall');
    device.bring(parseHex('01'));
    expect(await read(pipe)).toBe('01');
    expect(device.calls).toContain('clearHalt in 2');
    device.bring('stall');
    device.bring('stall');
    await expect(pipe.read(100)).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('what stalls on its way out is never sent again', async () => {
    const { device, pipe } = await open(() => ['stall-out']);
    await expect(pipe.write(parseHex('01'), 100)).rejects.toMatchObject({ code: 'reader/failed' });
    expect(device.sent).toEqual(['01']);
    expect(device.calls).toContain('clearHalt out 2');
  });

  test.each<[Reaction]>([['babble'], ['unplug']])('%s is a failure of the reader', async (reaction) => {
    const { device, pipe } = await open();
    const reading = pipe.read(100);
    if (reaction === 'unplug') device.unplug();
    else device.bring('babble');
    await expect(reading).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('a reader that takes no data', async () => {
    const { pipe } = await open(() => ['hang']);
    await expect(pipe.write(parseHex('01'), 100)).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('what lies there is drained, within bounds', async () => {
    const { device, pipe } = await open();
    for (const hex of ['01', '02', '03']) device.bring(parseHex(hex));
    await pipe.drain(10);
    expect(await read(pipe)).toBeUndefined();
    for (let i = 0; i < 100; i++) device.bring(parseHex('00'));
    await expect(pipe.drain(10)).rejects.toMatchObject({ code: 'reader/failed' });
  });
});

describe('the end', () => {
  test('a retired pipe fails at once and for good; the next one has its pending read', async () => {
    const { device, clock, pipe } = await open(() => []);
    const reading = pipe.read(60_000);
    const next = pipe.retire();
    await expect(reading).rejects.toMatchObject({ code: 'reader/failed' });
    await expect(pipe.read(100)).rejects.toMatchObject({ code: 'reader/failed' });
    await expect(pipe.write(parseHex('01'), 100)).rejects.toMatchObject({ code: 'reader/failed' });
    device.bring(parseHex('01'));
    expect(await read(next)).toBe('01');
    expect(device.violations).toEqual([]);
    expect(clock.nowMs).toBe(0);
  });

  test('closing gives everything back, also of a device that is gone', async () => {
    const { device, pipe } = await open();
    const reading = pipe.read(60_000);
    await pipe.close();
    await expect(reading).rejects.toMatchObject({ code: 'reader/failed' });
    expect(device.calls.slice(-2)).toEqual(['releaseInterface 1', 'close']);
    const gone = await open();
    gone.device.releaseInterface = gone.device.close = () => Promise.reject(new DOMException('', 'NotFoundError'));
    await gone.pipe.close();
  });
});
