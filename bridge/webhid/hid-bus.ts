/** The paired WebHID readers of this browser, with the driver of each. */
import { Failure } from '#protocol/failure.ts';
import type { DeviceBus } from '../device/device-readers.ts';
import { recogniseReader } from '../reader-registry.ts';
import { createApduHid } from './apdu-hid.ts';
import type { HidDevice } from './hid-device.ts';
import { createMagtek } from './magtek.ts';
import { createVivotech } from './vivotech.ts';

const DRIVERS = { magtek: createMagtek, vivotech: createVivotech, 'apdu-hid': createApduHid } as const;

/** `navigator.hid`, as little of it as is used. */
export interface HidAccess {
  getDevices(): Promise<readonly HidDevice[]>;
  addEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
  removeEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
}

export function createHidBus(hid: HidAccess): DeviceBus<HidDevice> {
  return {
    devices: async () => (await hid.getDevices()).filter((device) => driverOf(device) !== undefined),
    onChange: (callback) => {
      for (const type of ['connect', 'disconnect'] as const) hid.addEventListener(type, callback);
      return () => {
        for (const type of ['connect', 'disconnect'] as const) hid.removeEventListener(type, callback);
      };
    },
    createDriver: (device) => {
      const create = driverOf(device);
      if (create === undefined) throw new Failure('internal/bug', { detail: 'a device that no driver is for' });
      return create(device);
    },
  };
}

function driverOf({ vendorId, productId, collections }: HidDevice) {
  const usagePages = collections.flatMap(({ usagePage }) => usagePage ?? []);
  const kind = recogniseReader(vendorId, productId, usagePages)?.kind;
  return kind === 'magtek' || kind === 'vivotech' || kind === 'apdu-hid' ? DRIVERS[kind] : undefined;
}
