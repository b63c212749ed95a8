/** The paired WebUSB readers of this browser, with the driver of each. */
import { Failure } from '#protocol/failure.ts';
import { SYSTEM_CLOCK } from '../clock.ts';
import type { DeviceBus } from '../device/device-readers.ts';
import type { ReaderDriver } from '../device/reader-driver.ts';
import { recogniseReader, type OperatingSystem } from '../reader-registry.ts';
import { createRcS300 } from './rc-s300.ts';
import { createRcS380 } from './rc-s380.ts';
import type { UsbDevice } from './usb-device.ts';


/** `navigator.usb`, as little of it as is used. */
export interface UsbAccess {
  getDevices(): Promise<readonly UsbDevice[]>;
  addEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
  removeEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
}

/** `system`: a claim that is refused means different things on different ones. */
export function createUsbBus(usb: UsbAccess, system: OperatingSystem | 'other' = 'linux'): DeviceBus<UsbDevice> {
  return {
    devices: async () => (await usb.getDevices()).filter((device) => driverOf(device, system) !== undefined),
    onChange: (callback) => {
      for (const type of ['connect', 'disconnect'] as const) usb.addEventListener(type, callback);
      return () => {
        for (const type of ['connect', 'disconnect'] as const) usb.removeEventListener(type, callback);
      };
    },
    createDriver: (device) => {
      const create = driverOf(device, system);
      if (create === undefined) throw new Failure('internal/bug', { detail: 'a device that no driver is for' });
      return create();
    },
  };
}

function driverOf(device: UsbDevice, system: OperatingSystem | 'other'): (() => ReaderDriver) | undefined {
  const kind = recogniseReader(device.vendorId, device.productId)?.kind;
  if (kind === 'rc-s300') return () => createRcS300(device);
  return kind === 'rc-s380' ? () => createRcS380(device, SYSTEM_CLOCK, system) : undefined;
}
