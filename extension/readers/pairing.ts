/** Pairs readers through the browser's own choosers and knows which are paired: connected ones from the browser, those that are away from memory. */
import { Failure } from '#protocol/failure.ts';
import { KNOWN_READERS, recogniseReader, type DeviceReaderKind, type KnownReader } from '#bridge/reader-registry.ts';
import type { PairedMemory, RememberedReader } from './paired-memory.ts';
import type { DeviceRoad, PairedReader, Pairing } from './readers-page-ports.ts';

/** The part of WebUSB and WebHID (`navigator.usb`, `navigator.hid`) that pairing needs. */
export type UsbAccess = Pick<USB, 'getDevices' | 'requestDevice' | 'addEventListener' | 'removeEventListener'>;
export type HidAccess = Pick<HID, 'getDevices' | 'requestDevice' | 'addEventListener' | 'removeEventListener'>;

export interface PairingParts {
  readonly usb: UsbAccess | undefined;
  readonly hid: HidAccess | undefined;
  readonly memory: PairedMemory;
  /** The name under which the driver of this device reports cards. */
  readonly driverNameOf: (device: object) => string | undefined;
}

/** The chooser's filters for one family: exactly what the registry names (WebUSB, 5.1; WebHID, 5.2). */
export function usbFilters(kind: DeviceReaderKind): USBDeviceFilter[] {
  return entriesOf(kind, 'webusb').flatMap(({ vendorId, productIds }) => (vendorId === undefined ? [] : productIds.length === 0 ? [{ vendorId }] : productIds.map((productId) => ({ vendorId, productId }))));
}

export function hidFilters(kind: DeviceReaderKind): HIDDeviceFilter[] {
  return entriesOf(kind, 'webhid').flatMap(({ vendorId, productIds, usagePage }): HIDDeviceFilter[] => {
    const page = usagePage === undefined ? {} : { usagePage };
    if (vendorId === undefined) return [page];
    return productIds.length === 0 ? [{ vendorId, ...page }] : productIds.map((productId) => ({ vendorId, productId, ...page }));
  });
}

export function roadOf(kind: DeviceReaderKind): DeviceRoad {
  return entriesOf(kind, 'webusb').length > 0 ? 'webusb' : 'webhid';
}

function entriesOf(kind: DeviceReaderKind, road: DeviceRoad): KnownReader[] {
  return KNOWN_READERS.filter((reader) => reader.kind === kind && reader.road === road);
}

interface ConnectedReader extends PairedReader {
  readonly forget: () => Promise<void>;
}

export function createPairing(parts: PairingParts): Pairing {
  const { usb, hid, memory } = parts;
  const numbers = new WeakMap<object, number>();
  let count = 0;
  const idOf = (device: object): string => {
    if (!numbers.has(device)) numbers.set(device, ++count);
    return `device-${numbers.get(device) ?? 0}`;
  };
  const connected = async (): Promise<ConnectedReader[]> => {
    const [usbDevices, hidDevices] = await Promise.all([usb?.getDevices() ?? [], hid?.getDevices() ?? []]);
    const found = [...usbDevices.map((device) => fromUsb(device)), ...hidDevices.map((device) => fromHid(device))];
    return found.flatMap((reader) => (reader === undefined ? [] : [{ ...reader.shape, id: idOf(reader.device), driverName: parts.driverNameOf(reader.device), isConnected: true, forget: () => reader.device.forget() }]));
  };

  return {
    list: async () => {
      const [here, remembered] = [await connected(), await memory.all()];
      for (const reader of here) if (!remembered.some((known) => isSame(known, reader) && known.isKept === reader.isKept)) await memory.remember(asRemembered(reader));
      const away = remembered.filter((known) => !here.some((reader) => isSame(known, reader)));
      return [...here.map(({ id, kind, name, driverName, isConnected, isKept }) => ({ id, kind, name, driverName, isConnected, isKept })), ...away.map(awayReader)];
    },
    pair: async (kind) => {
      try {
        return (await request(kind, parts)) ? 'paired' : 'cancelled';
      } catch (cause) {
        // WebUSB, 4.1: a chooser that was closed without a choice.
        if (cause instanceof DOMException && cause.name === 'NotFoundError') return 'cancelled';
        throw new Failure('reader/permission', { cause });
      }
    },
    forget: async (id) => {
      const here = (await connected()).find((reader) => reader.id === id);
      await here?.forget();
      const gone = here ?? (await memory.all()).map(awayReader).find((reader) => reader.id === id);
      if (gone !== undefined) await memory.forget(gone);
    },
    onChange: (callback) => {
      const events = ['connect', 'disconnect'] as const;
      for (const event of events) {
        usb?.addEventListener(event, callback);
        hid?.addEventListener(event, callback);
      }
      return () => {
        for (const event of events) {
          usb?.removeEventListener(event, callback);
          hid?.removeEventListener(event, callback);
        }
      };
    },
  };
}

async function request(kind: DeviceReaderKind, { usb, hid }: PairingParts): Promise<boolean> {
  if (roadOf(kind) === 'webusb') {
    if (usb === undefined) throw new Failure('reader/permission', { detail: 'no WebUSB' });
    await usb.requestDevice({ filters: usbFilters(kind) });
    return true;
  }
  if (hid === undefined) throw new Failure('reader/permission', { detail: 'no WebHID' });
  // WebHID answers a closed chooser with an empty list.
  return (await hid.requestDevice({ filters: hidFilters(kind) })).length > 0;
}

type Shape = Pick<PairedReader, 'kind' | 'name' | 'isKept'>;
interface Found {
  readonly device: { forget(): Promise<void> };
  readonly shape: Shape;
}

function fromUsb(device: USBDevice): Found | undefined {
  const known = recogniseReader(device.vendorId, device.productId);
  if (known?.road !== 'webusb' || known.kind === 'ccid') return undefined;
  const product = device.productName?.trim() ?? '';
  // Chromium keeps a permission only for a device that has a serial number.
  return { device, shape: { kind: known.kind, name: product === '' ? known.title : `${known.title} (${product})`, isKept: (device.serialNumber ?? '') !== '' } };
}

function fromHid(device: HIDDevice): Found | undefined {
  const known = recogniseReader(device.vendorId, device.productId, device.collections.map(({ usagePage }) => usagePage ?? -1));
  if (known?.road !== 'webhid' || known.kind === 'ccid') return undefined;
  const product = device.productName.trim();
  // It needs product name and serial number, and WebHID tells a page the first only.
  return { device, shape: { kind: known.kind, name: product === '' ? known.title : `${known.title} (${product})`, isKept: product === '' ? false : undefined } };
}

function asRemembered({ kind, name, isKept }: Shape): RememberedReader {
  return isKept === undefined ? { kind, name } : { kind, name, isKept };
}

function awayReader({ kind, name, isKept }: RememberedReader): PairedReader {
  return { id: `away-${kind}-${name}`, kind, name, driverName: undefined, isConnected: false, isKept };
}

function isSame(one: Pick<Shape, 'kind' | 'name'>, other: Pick<Shape, 'kind' | 'name'>): boolean {
  return one.kind === other.kind && one.name === other.name;
}
