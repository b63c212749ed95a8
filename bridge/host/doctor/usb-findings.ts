/** The known readers on USB: over which road each is reached, and what on this computer stands between it and us. */
import { constants } from 'node:fs';
import { access, readdir } from 'node:fs/promises';
import type { Finding } from '#bridge/doctor-findings.ts';
import { KNOWN_READERS, recogniseReader, type KnownReader } from '#bridge/reader-registry.ts';
import { rulesFor } from '#bridge/udev-rules.ts';
import { readPlaced } from '../placed-files.ts';
import type { Platform } from '../platform.ts';
import { listUsbDevices, placesTakenBy, type UsbDevice } from './usb-devices.ts';

interface ConnectedReader {
  readonly device: UsbDevice;
  readonly reader: KnownReader;
  /** What a person calls it, with its number. */
  readonly about: string;
}

const ROADS = { webusb: 'by the browser itself over WebUSB (Chrome, Chromium, Edge, Brave)', webhid: 'by the browser itself over WebHID (Chrome, Chromium, Edge, Brave)', native: 'through the PC/SC service and this program' } as const;
/** The interface that a driver on WebUSB claims must be WinUSB's. */
const WINUSB = /^winusb$/i;
/** The kernel's NFC drivers, and which trouble each is. pn533_usb takes the ACR122U and several others. */
const KERNEL_DRIVERS = { port100: 'port100', pn533: 'pn533_usb' } as const;
const RULES_FOLDERS = ['/etc/udev/rules.d', '/run/udev/rules.d', '/usr/local/lib/udev/rules.d', '/usr/lib/udev/rules.d', '/lib/udev/rules.d'];

/** Also says which readers it saw: the PC/SC findings need to know of a reader that the service does not. */
export async function findUsbTroubles(platform: Platform): Promise<{ findings: Finding[]; readers: readonly KnownReader[] }> {
  const devices = await listUsbDevices(platform);
  if (devices === undefined) return { findings: [{ id: 'usb-reader', state: 'unknown', seen: 'this system did not tell which USB devices are connected' }], readers: [] };
  const connected = devices.flatMap(recognise);
  const findings: Finding[] = connected.map(({ about, reader }) => ({ id: 'usb-reader', state: 'ok', about, seen: `connected; reached ${ROADS[reader.road]}` }));
  if (connected.length === 0) findings.push({ id: 'usb-reader', state: 'unknown', seen: 'none of the readers that we know is connected by USB' });
  if (platform.system === 'linux') findings.push(...(await kernelDrivers(platform, devices, connected)), ...(await permissions(platform, connected)));
  if (platform.system === 'windows') findings.push(...windowsDrivers(connected));
  return { findings: [...findings, ...possibleTroubles(platform, connected)], readers: connected.map(({ reader }) => reader) };
}

function recognise(device: UsbDevice): ConnectedReader[] {
  const reader = recogniseReader(device.vendorId, device.productId, device.interfaces.flatMap(({ usagePages }) => usagePages));
  return reader === undefined ? [] : [{ device, reader, about: `${reader.title} (${number(device.vendorId)}:${number(device.productId)})` }];
}

async function kernelDrivers(platform: Platform, devices: readonly UsbDevice[], connected: readonly ConnectedReader[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const id of ['port100', 'pn533'] as const) {
    const driver = KERNEL_DRIVERS[id];
    const taken = new Set(await placesTakenBy(platform, driver));
    for (const device of devices) {
      const known = connected.find((each) => each.device === device);
      const holdsIt = taken.has(device.place) || device.interfaces.some((each) => each.driver === driver);
      const about = known?.about ?? `${number(device.vendorId)}:${number(device.productId)}`;
      if (holdsIt) findings.push({ id, state: 'problem', about, seen: `the kernel's driver ${driver} holds it (USB place ${device.place})` });
      else if (id === 'port100' && known?.reader.troubles.linux?.includes(id) === true) findings.push({ id, state: 'ok', about, seen: `the kernel's driver ${driver} does not hold it` });
    }
  }
  return findings;
}

async function permissions(platform: Platform, connected: readonly ConnectedReader[]): Promise<Finding[]> {
  const lines = await udevLines(platform);
  const findings: Finding[] = [];
  for (const { device, reader, about } of connected.filter((each) => each.reader.road !== 'native')) {
    const isNamed = isInRules(lines, reader, device);
    findings.push({ id: 'udev-rule', state: isNamed ? 'ok' : 'problem', about, seen: isNamed ? 'a rule gives it to the person at the computer' : 'no rule of udev names it' });
    const nodes = reader.road === 'webhid' ? device.interfaces.flatMap(({ hidNodes }) => hidNodes) : [device.node].filter((node) => node !== undefined);
    for (const node of nodes) findings.push(await mayOpen(platform, node, about));
    if (nodes.length === 0) findings.push({ id: 'device-access', state: 'unknown', about, seen: 'it has no device file' });
  }
  const isConnected = (reader: KnownReader) => connected.some((each) => each.reader === reader);
  const missing = KNOWN_READERS.filter((reader) => rulesFor(reader).length > 0 && !isConnected(reader) && !isInRules(lines, reader));
  if (missing.length > 0) findings.push({ id: 'udev-rule', state: 'unknown', seen: `not connected, and no rule yet for: ${missing.map(({ title }) => title).join('; ')}` });
  return findings;
}

async function mayOpen(platform: Platform, node: string, about: string): Promise<Finding> {
  if (platform.userId === 0) return { id: 'device-access', state: 'unknown', about, seen: `${node}: asked as root, who may open everything; ask as the person who uses the browser` };
  const allowed = await access(platform.locate(node), constants.R_OK | constants.W_OK).then(() => true, () => false);
  return { id: 'device-access', state: allowed ? 'ok' : 'problem', about, seen: `${node} ${allowed ? 'may' : 'may not'} be opened by this user` };
}

/** Every line of every rules file, comments left out. */
async function udevLines(platform: Platform): Promise<string[]> {
  const lines: string[] = [];
  for (const folder of RULES_FOLDERS) {
    const names = await readdir(platform.locate(folder)).catch(() => []); // not every system has each
    for (const name of names.filter((each) => each.endsWith('.rules'))) {
      const text = (await readPlaced(platform, `${folder}/${name}`))?.toString('latin1') ?? '';
      lines.push(...text.replaceAll('\\\n', ' ').split('\n').filter((line) => line.includes('idVendor') && !line.trimStart().startsWith('#')));
    }
  }
  return lines;
}

/** Whether a line gives this reader's device file to somebody; `device` names its product where the reader is known by its vendor or usage page alone. */
function isInRules(lines: readonly string[], { road, vendorId, productIds }: KnownReader, device?: UsbDevice): boolean {
  const vendor = number(vendorId ?? device?.vendorId ?? 0);
  const products = device === undefined ? productIds : [device.productId];
  return lines.some((line) => {
    if (!new RegExp(`idVendor\\}=="${vendor}"`, 'i').test(line) || !/uaccess|MODE\s*:?=|GROUP\s*:?=/.test(line)) return false;
    if (line.includes('hidraw') !== (road === 'webhid')) return false;
    const named = /idProduct\}=="([^"]*)"/i.exec(line)?.[1]?.toLowerCase().split('|');
    return named === undefined || products.some((product) => named.includes(number(product)));
  });
}

function windowsDrivers(connected: readonly ConnectedReader[]): Finding[] {
  return connected
    .filter(({ reader }) => reader.troubles.windows?.includes('not-winusb') === true)
    .map(({ device, about }) => {
      const services = device.interfaces.map(({ driver = '' }) => driver);
      if (services.length === 0) return { id: 'not-winusb', state: 'unknown', about, seen: 'Windows did not tell which driver it has' };
      const isWinusb = services.some((service) => WINUSB.test(service));
      return { id: 'not-winusb', state: isWinusb ? 'ok' : 'problem', about, seen: `driver: ${services.join(', ')}` };
    });
}

/** What may or may not disturb: it is said, not judged. */
function possibleTroubles({ system }: Platform, connected: readonly ConnectedReader[]): Finding[] {
  return connected.flatMap(({ device, reader, about }) => {
    const findings: Finding[] = [];
    if (reader.road === 'native') return findings;
    if (device.hasSerialNumber === false) findings.push({ id: 'permission-forgotten', state: 'unknown', about, seen: 'it has no serial number' });
    for (const trouble of reader.troubles[system] ?? []) {
      if (trouble === 'shared-with-pcsc') findings.push({ id: trouble, state: 'unknown', about, seen: 'the PC/SC service can drive it too' });
      if (trouble === 'pass-through-locked') findings.push({ id: trouble, state: 'unknown', about, seen: 'only a payment card on it shows whether it passes commands on' });
    }
    return findings;
  });
}

function number(id: number): string {
  return id.toString(16).padStart(4, '0');
}
