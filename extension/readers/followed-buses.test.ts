import { expect, test, vi } from 'vitest';
import type { DeviceBus } from '#bridge/device/device-readers.ts';
import type { ReaderDriver } from '#bridge/device/reader-driver.ts';
import { createFollowedBuses } from './followed-buses.ts';

test('a device is known by its driver\'s name, once it has a driver', () => {
  const device = {};
  const bus: DeviceBus<object> = { devices: () => Promise.resolve([device]), onChange: () => () => undefined, createDriver: () => ({ readerName: 'SONY RC-S300' }) as ReaderDriver };
  const followed = createFollowedBuses();
  const mine = followed.follow(bus);
  expect(followed.nameOf(device)).toBeUndefined();
  mine.createDriver(device);
  expect(followed.nameOf(device)).toBe('SONY RC-S300');
});

test('whoever follows the bus hears its news and ours, until it stops', () => {
  const callback = vi.fn();
  const stopBus = vi.fn();
  const bus: DeviceBus<object> = { devices: () => Promise.resolve([]), onChange: vi.fn(() => stopBus), createDriver: () => ({}) as ReaderDriver };
  const followed = createFollowedBuses();
  const stop = followed.follow(bus).onChange(callback);
  followed.lookAgain();
  expect(callback).toHaveBeenCalledOnce();
  stop();
  followed.lookAgain();
  expect(callback).toHaveBeenCalledOnce();
  expect(stopBus).toHaveBeenCalledOnce();
});
