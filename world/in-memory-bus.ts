/** A browser's bus in memory: devices of one kind, plugged in and out, with its two events. */
import type { UsbDevice as EmulatedDevice } from '#card-firmware-sim/usb/usb-device.ts';

export interface InMemoryBus<Device> {
  /** As `navigator.usb` or `navigator.hid`. */
  readonly access: {
    getDevices(): Promise<readonly Device[]>;
    addEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
    removeEventListener(type: 'connect' | 'disconnect', listener: () => void): void;
  };
  plug(device: EmulatedDevice): void;
  unplug(device: EmulatedDevice): void;
}

export function createInMemoryBus<Device extends { disconnect(): void }>(connect: (device: EmulatedDevice) => Device): InMemoryBus<Device> {
  const devices = new Map<EmulatedDevice, Device>();
  const events = new EventTarget();
  return {
    access: {
      getDevices: () => Promise.resolve([...devices.values()]),
      addEventListener: (type, listener) => events.addEventListener(type, listener),
      removeEventListener: (type, listener) => events.removeEventListener(type, listener),
    },
    plug: (device) => {
      devices.set(device, connect(device));
      events.dispatchEvent(new Event('connect'));
    },
    unplug: (device) => {
      devices.get(device)?.disconnect();
      devices.delete(device);
      events.dispatchEvent(new Event('disconnect'));
    },
  };
}
