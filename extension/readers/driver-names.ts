/** Remembers under which name a device's driver reports: that is how the page knows a paired device and its live reader for one and the same. */
import type { DeviceBus } from '#bridge/device/device-readers.ts';

export interface DriverNames {
  /** The same bus; the names of the drivers that it makes are noted. */
  noting<Device extends object>(bus: DeviceBus<Device>): DeviceBus<Device>;
  nameOf(device: object): string | undefined;
}

export function createDriverNames(): DriverNames {
  const names = new WeakMap<object, string>();
  return {
    noting: (bus) => ({
      devices: () => bus.devices(),
      onChange: (callback) => bus.onChange(callback),
      createDriver: (device) => {
        const driver = bus.createDriver(device);
        names.set(device, driver.readerName);
        return driver;
      },
    }),
    nameOf: (device) => names.get(device),
  };
}
