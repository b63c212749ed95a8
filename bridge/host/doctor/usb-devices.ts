/** The USB devices of this computer, as far as each system tells a program without rights: which, driven by what, opened by whom. */
import { readdir, readlink } from 'node:fs/promises';
import * as v from 'valibot';
import { readPlaced } from '../placed-files.ts';
import type { Platform } from '../platform.ts';

export interface UsbInterface {
  /** Kernel driver (Linux) or service (Windows) that has it; undefined where none has, or where the system does not tell. */
  readonly driver: string | undefined;
  /** Of a HID interface. */
  readonly usagePages: readonly number[];
  /** Device files of a HID interface. */
  readonly hidNodes: readonly string[];
}

export interface UsbDevice {
  /** The system's name for the place: 1-2 on Linux. */
  readonly place: string;
  readonly vendorId: number;
  readonly productId: number;
  /** Undefined where the system does not tell. */
  readonly hasSerialNumber: boolean | undefined;
  /** Device file; Linux only. */
  readonly node: string | undefined;
  readonly interfaces: readonly UsbInterface[];
}

const DEVICES = '/sys/bus/usb/devices';

/** Undefined where the system cannot be asked. */
export function listUsbDevices(platform: Platform): Promise<UsbDevice[] | undefined> {
  if (platform.system === 'linux') return listOnLinux(platform);
  return platform.system === 'macos' ? listOnMacos(platform) : listOnWindows(platform);
}

/** The interfaces that a kernel driver has taken, as places of their devices; Linux only. */
export async function placesTakenBy(platform: Platform, driver: string): Promise<string[]> {
  const names = await namesIn(platform, `/sys/bus/usb/drivers/${driver}`);
  return [...new Set(names.filter((name) => /^\d+-[\d.]+:/.test(name)).map((name) => name.slice(0, name.indexOf(':'))))];
}

async function listOnLinux(platform: Platform): Promise<UsbDevice[] | undefined> {
  const names = await namesIn(platform, DEVICES);
  if (names.length === 0) return undefined;
  const devices: UsbDevice[] = [];
  for (const place of names.filter((name) => /^\d+-[\d.]+$/.test(name))) {
    const attribute = async (name: string) => (await readPlaced(platform, `${DEVICES}/${place}/${name}`))?.toString('latin1').trim();
    const [vendorId, productId, serial, bus, number] = [await attribute('idVendor'), await attribute('idProduct'), await attribute('serial'), await attribute('busnum'), await attribute('devnum')];
    if (vendorId === undefined || productId === undefined) continue; // unplugged while we look
    const interfaces: UsbInterface[] = [];
    for (const name of names.filter((each) => each.startsWith(`${place}:`))) interfaces.push(await readInterface(platform, `${DEVICES}/${name}`));
    const node = bus === undefined || number === undefined ? undefined : `/dev/bus/usb/${bus.padStart(3, '0')}/${number.padStart(3, '0')}`;
    devices.push({ place, vendorId: Number.parseInt(vendorId, 16), productId: Number.parseInt(productId, 16), hasSerialNumber: serial !== undefined && serial !== '', node, interfaces });
  }
  return devices;
}

async function readInterface(platform: Platform, folder: string): Promise<UsbInterface> {
  const link = await readlink(platform.locate(`${folder}/driver`)).catch(() => undefined); // no driver has it
  const usagePages: number[] = [];
  const hidNodes: string[] = [];
  for (const name of (await namesIn(platform, folder)).filter((each) => /^0003:[0-9A-F]{4}:[0-9A-F]{4}\./i.test(each))) {
    usagePages.push(...usagePagesOf((await readPlaced(platform, `${folder}/${name}/report_descriptor`)) ?? new Uint8Array()));
    hidNodes.push(...(await namesIn(platform, `${folder}/${name}/hidraw`)).map((node) => `/dev/${node}`));
  }
  return { driver: link?.slice(link.lastIndexOf('/') + 1), usagePages, hidNodes };
}

/** Every usage page that a report descriptor names (HID 1.11, 6.2.2.2: a byte of tag, type and size before each item; 6.2.2.3: long items). */
export function usagePagesOf(descriptor: Uint8Array): number[] {
  const pages = new Set<number>();
  for (let at = 0; at < descriptor.length; ) {
    const prefix = descriptor[at] ?? 0;
    if (prefix === 0xfe) {
      at += 3 + (descriptor[at + 1] ?? 0);
      continue;
    }
    const size = [0, 1, 2, 4][prefix & 3] ?? 0;
    if ((prefix & 0xfc) === 0x04) pages.add((descriptor[at + 1] ?? 0) + (size > 1 ? (descriptor[at + 2] ?? 0) * 256 : 0));
    at += 1 + size;
  }
  return [...pages];
}

/** system_profiler's tree; only the members that we read. */
interface ProfilerItem {
  readonly vendor_id?: string | undefined;
  readonly product_id?: string | undefined;
  readonly serial_num?: string | undefined;
  readonly location_id?: string | undefined;
  readonly _items?: readonly ProfilerItem[] | undefined;
}
const ProfilerItem: v.GenericSchema<unknown, ProfilerItem> = v.object({
  vendor_id: v.optional(v.string()),
  product_id: v.optional(v.string()),
  serial_num: v.optional(v.string()),
  location_id: v.optional(v.string()),
  _items: v.optional(v.array(v.lazy(() => ProfilerItem))),
});
const ProfilerReport = v.object({ SPUSBDataType: v.array(ProfilerItem) });

async function listOnMacos(platform: Platform): Promise<UsbDevice[] | undefined> {
  const { exitCode, stdout } = await platform.run('/usr/sbin/system_profiler', ['-json', 'SPUSBDataType']);
  if (exitCode !== 0) return undefined;
  const report = v.safeParse(v.pipe(v.string(), v.parseJson(), ProfilerReport), stdout);
  if (!report.success) return undefined;
  const devices: UsbDevice[] = [];
  const visit = (item: ProfilerItem): void => {
    // "0x054c  (Sony Corp.)"
    const [vendorId, productId] = [item.vendor_id, item.product_id].map((text) => Number.parseInt(text ?? '', 16));
    if (vendorId !== undefined && productId !== undefined && !Number.isNaN(vendorId) && !Number.isNaN(productId)) {
      devices.push({ place: item.location_id ?? '', vendorId, productId, hasSerialNumber: (item.serial_num ?? '') !== '', node: undefined, interfaces: [] });
    }
    item._items?.forEach(visit);
  };
  report.output.SPUSBDataType.forEach(visit);
  return devices;
}

/** pnputil's headings are translated, the instance ids are not. */
async function listOnWindows(platform: Platform): Promise<UsbDevice[] | undefined> {
  const { exitCode, stdout } = await platform.run('pnputil.exe', ['/enum-devices', '/connected']);
  if (exitCode !== 0) return undefined;
  const devices: UsbDevice[] = [];
  for (const [, vendor = '', product = '', instance = ''] of stdout.matchAll(/USB\\VID_([0-9A-F]{4})&PID_([0-9A-F]{4})\\(\S+)/gi)) {
    const services = await servicesOf(platform, `VID_${vendor}&PID_${product}`);
    devices.push({
      place: instance,
      vendorId: Number.parseInt(vendor, 16),
      productId: Number.parseInt(product, 16),
      // An instance that Windows made up for want of a serial number has an ampersand in it.
      hasSerialNumber: !instance.includes('&'),
      node: undefined,
      interfaces: services.map((driver) => ({ driver, usagePages: [], hidNodes: [] })),
    });
  }
  return devices;
}

/** Of the device and of each of its interfaces. */
async function servicesOf(platform: Platform, name: string): Promise<string[]> {
  const services: string[] = [];
  // An interface of a composite device is a device of its own, whose name ends so.
  for (const each of [name, `${name}&MI_00`, `${name}&MI_01`]) {
    const { exitCode, stdout } = await platform.run('reg.exe', ['query', `HKLM\\SYSTEM\\CurrentControlSet\\Enum\\USB\\${each}`, '/s', '/v', 'Service']);
    if (exitCode === 0) services.push(...[...stdout.matchAll(/\bREG_SZ\s+(\S+)/g)].map(([, service = '']) => service));
  }
  return services;
}

async function namesIn(platform: Platform, folder: string): Promise<string[]> {
  return readdir(platform.locate(folder)).catch(() => []); // not there: nothing in it
}
