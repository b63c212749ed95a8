/** All readers of this browser, over every road that it has. */
import browser from 'webextension-polyfill';
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { createPairedMemory } from '../readers/paired-memory.ts';
import { connectReaderProgram } from './reader-program.ts';
import { createReaders, type Readers } from './readers.ts';
import { systemOf } from './system.ts';

/** Starts the program that reaches PC/SC readers, and opens the paired ones. Firefox and Safari have neither WebUSB nor WebHID. */
export function openReaders(): Readers {
  const { usb, hid } = navigator as { readonly usb?: USB; readonly hid?: HID };
  const buses = [...(usb === undefined ? [] : [createUsbBus(usb, systemOf(navigator))]), ...(hid === undefined ? [] : [createHidBus(hid)])];
  const openProgram = async () => (await connectReaderProgram()).source;
  const isAnyPaired = async () => (await createPairedMemory(browser.storage.local).all()).length > 0;
  return createReaders(openProgram, buses.length === 0 ? undefined : () => openDeviceReaders(buses), isAnyPaired);
}
