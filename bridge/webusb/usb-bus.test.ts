import { expect, test } from 'vitest';
import type { OperatingSystem } from '../reader-registry.ts';
import { createUsbBus, type UsbAccess } from './usb-bus.ts';
import type { UsbDevice } from './usb-device.ts';
import { FakeUsbDevice } from './usb-device.fixture.ts';

const PRODUCT = { rcS300: 0x0dc9, rcS380: 0x06c3, mouse: 0x0001 } as const;
const createDevice = (productId: number) => new FakeUsbDevice({ productId, interfaces: [{ number: 0, class: 0xff, input: 1, output: 2 }], react: () => [] });
const accessTo = (devices: readonly UsbDevice[]): UsbAccess => ({ getDevices: () => Promise.resolve(devices), addEventListener: () => undefined, removeEventListener: () => undefined });

test('of the paired devices those with a driver are readers', async () => {
  const devices = [PRODUCT.rcS300, PRODUCT.mouse, PRODUCT.rcS380].map(createDevice);
  expect(await createUsbBus(accessTo(devices)).devices()).toEqual([devices[0], devices[2]]);
});

test.each<[OperatingSystem | 'other', string]>([
  ['linux', 'reader/driver'],
  ['windows', 'reader/in-use'],
  ['macos', 'reader/in-use'],
  ['other', 'reader/in-use'],
])("an RC-S380 that cannot be claimed is, on %s, told as %s: only Linux has a driver of its own for it", async (system, code) => {
  const device = createDevice(PRODUCT.rcS380);
  device.refuse.claimInterface = 'NetworkError';
  await expect(createUsbBus(accessTo([device]), system).createDriver(device).open()).rejects.toMatchObject({ code });
});
