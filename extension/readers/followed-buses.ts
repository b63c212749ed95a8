/** The browser's buses as this page follows them: it knows the driver's name of each device, and can say itself that something was paired. */
import type { DeviceBus } from '#bridge/device/device-readers.ts';

export interface FollowedBuses {
  /** The same bus, followed. */
  follow<Device extends object>(bus: DeviceBus<Device>): DeviceBus<Device>;
  /** The name under which the driver of this device reports cards; undefined before it has one. */
  nameOf(device: object): string | undefined;
  /** Has every followed bus looked at anew: no event tells that a connected reader was paired or forgotten. */
  lookAgain(): void;
}

export function createFollowedBuses(): FollowedBuses {
  const names = new WeakMap<object, string>();
  const callbacks = new Set<() => void>();
  return {
    follow: (bus) => ({
      devices: () => bus.devices(),
      onChange: (callback) => {
        const stop = bus.onChange(callback);
        callbacks.add(callback);
        return () => {
          callbacks.delete(callback);
          stop();
        };
      },
      createDriver: (device) => {
        const driver = bus.createDriver(device);
        names.set(device, driver.readerName);
        return driver;
      },
    }),
    nameOf: (device) => names.get(device),
    lookAgain: () => {
      for (const callback of [...callbacks]) callback();
    },
  };
}
