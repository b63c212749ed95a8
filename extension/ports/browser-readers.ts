/** All readers of this browser, over every road that it has. */
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { connectNativeHost } from './native.ts';
import { createReaders, type Readers } from './readers.ts';

/** Starts the native host and opens the paired readers. Firefox and Safari have neither WebUSB nor WebHID. */
export function openReaders(): Readers {
  const { usb, hid } = navigator as { readonly usb?: USB; readonly hid?: HID };
  const buses = [...(usb === undefined ? [] : [createUsbBus(usb)]), ...(hid === undefined ? [] : [createHidBus(hid)])];
  return createReaders(connectNativeHost, buses.length === 0 ? undefined : openDeviceReaders(buses));
}
