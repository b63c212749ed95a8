/** The paired WebUSB readers of this browser, with the driver of each. */
import { Failure } from '#protocol/failure.ts';
import type { DeviceBus } from '../device/device-readers.ts';
import { recogniseReader } from '../reader-registry.ts';
import { createRcS300 } from './rc-s300.ts';
import { createRcS380 } from './rc-s380.ts';
import type { UsbDevice } from './usb-device.ts';

const DRIVERS = { 'rc-s300': createRcS300, 'rc-s380': createRcS380 } as const;

/** `navigator.usb`, as little of it as is used. */
export interface UsbAccess {
  getDevices(): Promise<readonly UsbDevice[]>;
  addEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
  removeEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
}

export function createUsbBus(usb: UsbAccess): DeviceBus<UsbDevice> {
  return {
    devices: async () => (await usb.getDevices()).filter((device) => driverOf(device) !== undefined),
    onChange: (callback) => {
      for (const type of ['connect', 'disconnect'] as const) usb.addEventListener(type, callback);
      return () => {
        for (const type of ['connect', 'disconnect'] as const) usb.removeEventListener(type, callback);
      };
    },
    createDriver: (device) => {
      const create = driverOf(device);
      if (create === undefined) throw new Failure('internal/bug', { detail: 'a device that no driver is for' });
      return create(device);
    },
  };
}

function driverOf({ vendorId, productId }: UsbDevice) {
  const kind = recogniseReader(vendorId, productId)?.kind;
  return kind === 'rc-s300' || kind === 'rc-s380' ? DRIVERS[kind] : undefined;
}
