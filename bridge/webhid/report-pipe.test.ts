import { describe, expect, test } from 'vitest';
import { FakeHidDevice, QuickClock } from './hid-device.fixture.ts';
import { ReportPipe } from './report-pipe.ts';

async function opened() {
  const device = new FakeHidDevice();
  const clock = new QuickClock();
  const pipe = new ReportPipe(device, clock);
  await pipe.open();
  return { device, clock, pipe };
}
const one = Uint8Array.of(1);

describe('the reports of a HID device', () => {
  test('come in order, whether somebody waits or not', async () => {
    const { device, pipe } = await opened();
    device.say(3, one);
    const [first, second] = [await pipe.next(100), pipe.next(100)];
    device.say(4, Uint8Array.of(2));
    expect([first, await second]).toEqual([{ id: 3, bytes: one }, { id: 4, bytes: Uint8Array.of(2) }]);
  });

  test('are copied: the browser may use its buffer again', async () => {
    const { device, pipe } = await opened();
    const buffer = Uint8Array.of(9, 1, 9);
    for (const listener of device.listeners) listener({ reportId: 0, data: new DataView(buffer.buffer, 1, 1) });
    buffer.fill(0);
    expect((await pipe.next(100))?.bytes).toEqual(one);
  });

  test('that do not come are undefined after the limit, and no timer stays', async () => {
    const { clock, pipe } = await opened();
    const before = clock.now();
    expect(await pipe.next(350)).toBeUndefined();
    expect(clock.now() - before).toBe(350);
    expect(clock.timers).toBe(0);
  });

  test('have one waiter', async () => {
    const { device, pipe } = await opened();
    const first = pipe.next(100);
    await expect(pipe.next(100)).rejects.toMatchObject({ code: 'internal/bug' });
    device.say(0, one);
    expect(await first).toEqual({ id: 0, bytes: one });
  });

  test('are forgotten by draining', async () => {
    const { device, pipe } = await opened();
    device.say(0, one);
    pipe.drain();
    expect(pipe.take()).toBeUndefined();
  });

  test('more than anybody asked for end the reader', async () => {
    const { device, pipe } = await opened();
    for (let count = 0; count < 257; count++) device.say(0, one);
    await expect(pipe.next(100)).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('a device that takes none fails the sender in time', async () => {
    const { device, pipe } = await opened();
    device.stuck = true;
    await expect(pipe.send(0, one)).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('unplugging fails the waiter and the sender, and is told apart from closing', async () => {
    const { device, pipe } = await opened();
    const waiting = pipe.next(60_000);
    device.unplug();
    await expect(waiting).rejects.toThrow('unplugged');
    await expect(pipe.send(0, one)).rejects.toThrow('unplugged');
    await pipe.close();
    await expect(pipe.next(1)).rejects.toThrow('closed');
  });

  test('closing fails the waiter and the sender at once, says farewell and removes the listener', async () => {
    const { device, clock, pipe } = await opened();
    const waiting = expect(pipe.next(60_000)).rejects.toThrow('closed');
    await pipe.close([{ id: 7, bytes: one }]);
    await waiting;
    expect(device.sent).toEqual(['7:01']);
    expect(device.listeners.size).toBe(0);
    expect(device.opened).toBe(false);
    expect(clock.timers).toBe(0);
    await expect(pipe.send(0, one)).rejects.toThrow('closed');
  });

  test('closing a stuck device ends too', async () => {
    const { device, pipe } = await opened();
    device.stuck = true;
    const sending = expect(pipe.send(0, one)).rejects.toThrow('closed');
    await pipe.close([{ id: 7, bytes: one }]);
    await sending;
    expect(device.opened).toBe(false);
  });

  test('closed while it opens, the device is closed all the same', async () => {
    const device = new FakeHidDevice();
    let letOpen = (): void => undefined;
    device.open = () => new Promise((resolve) => {
      letOpen = () => {
        device.opened = true;
        resolve();
      };
    });
    const pipe = new ReportPipe(device, new QuickClock());
    const opening = expect(pipe.open()).rejects.toThrow('closed');
    const closing = pipe.close();
    letOpen();
    await Promise.all([opening, closing]);
    expect(device.opened).toBe(false);
    expect(device.listeners.size).toBe(0);
  });

  test.each([
    ['NotAllowedError', 'reader/permission'],
    ['SecurityError', 'reader/permission'],
    ['InvalidStateError', 'reader/in-use'],
    ['NetworkError', 'reader/failed'],
  ])('a device that cannot be opened for %s is %s', async (name, code) => {
    const device = new FakeHidDevice();
    device.openError = new DOMException('Failed to open the device.', name);
    await expect(new ReportPipe(device, new QuickClock()).open()).rejects.toMatchObject({ code });
    expect(device.listeners.size).toBe(0);
  });

  test('a device that another part of the page has open is neither taken nor closed', async () => {
    const device = new FakeHidDevice();
    device.opened = true;
    const pipe = new ReportPipe(device, new QuickClock());
    await expect(pipe.open()).rejects.toMatchObject({ code: 'reader/in-use' });
    await pipe.close();
    expect(device.opened).toBe(true);
  });
});
