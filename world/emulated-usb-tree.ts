/** The emulated devices as Linux would show them: a folder in place of /sys, another in place of /dev, and what udev would announce. */
import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import type { Bytes } from '#protocol/bytes.ts';
import type { UsbDescriptors } from '#card-firmware-sim/usb/usb-device.ts';
import { longestInputReport } from './hid-report-descriptor.ts';
import { describeDevice, hex, hidInterfaceOf, hidNameOf, type DeviceDescription } from './usb-descriptors.ts';

export interface UsbPlace {
  /** Of the USB/IP server on 127.0.0.1. */
  readonly serverPort: number;
  /** As the server calls the device, like `1-1`. */
  readonly busId: string;
  /** 1 to 127; the kernel gives a new one each time a device is plugged in. */
  readonly deviceNumber: number;
  readonly descriptors: UsbDescriptors;
  /** Numbers of the interfaces that a kernel driver holds. */
  readonly heldInterfaces: readonly number[];
  /** The user may not open it: the udev rule is missing. */
  readonly denied: boolean;
}

/** One device of the kernel's, as udev announces it. */
export type DeviceProperties = Readonly<Record<string, string>>;

export interface UsbTree {
  readonly sysFolder: string;
  readonly devFolder: string;
  /** Shows the device; answers what is to be announced, parents first. */
  add(place: UsbPlace): Promise<readonly DeviceProperties[]>;
  /** The nodes in /dev go first: what is no longer there cannot be opened. */
  removeNodes(place: UsbPlace): Promise<void>;
  removeEntries(place: UsbPlace): Promise<void>;
}

type Files = Map<string, string | Bytes>;
/** Name of the link and what it leads to, both below /sys. */
type Links = Map<string, string>;

/** Parts of the machine's own /sys that the browser goes on seeing. */
export const REAL_PARTS_OF_SYS = ['devices/system', 'fs/cgroup'] as const;
const SPEED_MBIT = { 2: '12', 3: '480' } as const;
const MAJOR = { USB: 189, HIDRAW: 246 } as const;
const BUS = '001';

/** `controller` is the name of the bus's place in the tree: different ones cannot be taken for each other. */
export async function createUsbTree(folder: string, controller: string): Promise<UsbTree> {
  const [sysFolder, devFolder] = [join(folder, 'sys'), join(folder, 'dev')];
  for (const place of [sysFolder, devFolder]) await rm(place, { recursive: true, force: true });
  for (const part of [...REAL_PARTS_OF_SYS, 'bus/usb/devices', 'bus/hid/devices', 'class/hidraw', `devices/platform/${controller}/usb1`]) await mkdir(join(sysFolder, part), { recursive: true });
  await mkdir(join(devFolder, 'bus/usb', BUS), { recursive: true });
  const locate = (place: UsbPlace) => layOut(place, `devices/platform/${controller}/usb1/${place.busId}`);
  return {
    sysFolder,
    devFolder,
    add: async (place) => {
      const { files, links, nodes, announced } = locate(place);
      for (const [name, content] of files) await write(join(sysFolder, name), content);
      for (const [name, target] of links) await link(sysFolder, name, target);
      for (const [name, content] of nodes) await write(join(devFolder, name), content, place.denied ? 0o400 : 0o600);
      return announced;
    },
    removeNodes: async (place) => {
      for (const name of locate(place).nodes.keys()) await rm(join(devFolder, name), { force: true });
    },
    removeEntries: async (place) => {
      const { links, folder: deviceFolder } = locate(place);
      for (const name of links.keys()) await rm(join(sysFolder, name), { force: true });
      await rm(join(sysFolder, deviceFolder), { recursive: true, force: true });
    },
  };
}

async function write(file: string, content: string | Bytes, mode = 0o644): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(file, content, { mode });
}

async function link(sysFolder: string, name: string, target: string): Promise<void> {
  const file = join(sysFolder, name);
  await mkdir(dirname(file), { recursive: true });
  await symlink(relative(dirname(file), join(sysFolder, target)), file);
}

interface Layout {
  readonly folder: string;
  readonly files: Files;
  readonly links: Links;
  readonly nodes: Map<string, string>;
  readonly announced: readonly DeviceProperties[];
}

function layOut(place: UsbPlace, folder: string): Layout {
  const device = describeDevice(place.descriptors);
  const files: Files = new Map();
  const links: Links = new Map();
  const nodes = new Map<string, string>();
  const announced = [layOutDevice(place, device, folder, { files, links }), ...layOutInterfaces(place, device, folder, { files, links })];
  const held = place.heldInterfaces.reduce((mask, number) => mask | (1 << number), 0) >>> 0;
  const address = `${place.serverPort} ${place.busId} ${held.toString(16)}`;
  nodes.set(`bus/usb/${BUS}/${String(place.deviceNumber).padStart(3, '0')}`, `${address}\n`);
  const hid = hidInterfaceOf(device);
  if (hid !== null && place.descriptors.hidReport !== undefined) {
    announced.push(...layOutHid(place, device, folder, { files, links }));
    const endpoint = (direction: number) => (hid.endpoints.find(({ address }) => (address & 0x80) === direction)?.address ?? 0) & 0x0f;
    nodes.set(hidNodeOf(place), `${address} ${hid.number} ${endpoint(0x80)} ${endpoint(0)} ${longestInputReport(place.descriptors.hidReport)}\n`);
  }
  return { folder, files, links, nodes, announced };
}

/** One node of a kind for each device number is enough: only interface 0 can be a HID one. */
function hidNodeOf({ deviceNumber }: UsbPlace): string {
  return `hidraw${deviceNumber}`;
}

interface Tree {
  readonly files: Files;
  readonly links: Links;
}

/** Drivers/base's files of every device: `uevent`, `subsystem`, `dev`; answers what udev makes of them. */
function layOutKernelDevice({ files, links }: Tree, folder: string, subsystem: string, uevent: Record<string, string>): DeviceProperties {
  files.set(`${folder}/uevent`, Object.entries(uevent).map(([key, value]) => `${key}=${value}\n`).join(''));
  links.set(`${folder}/subsystem`, subsystem);
  if (uevent['MAJOR'] !== undefined) files.set(`${folder}/dev`, `${uevent['MAJOR']}:${uevent['MINOR'] ?? ''}\n`);
  const node = uevent['DEVNAME'] === undefined ? {} : { DEVNAME: `/dev/${uevent['DEVNAME']}` };
  return { DEVPATH: `/${folder}`, SUBSYSTEM: subsystem.split('/').at(-1) ?? '', ...uevent, ...node };
}

function layOutDevice(place: UsbPlace, device: DeviceDescription, folder: string, tree: Tree): DeviceProperties {
  const { deviceNumber, descriptors } = place;
  const number = String(deviceNumber).padStart(3, '0');
  const attributes: Record<string, string | number | null> = {
    busnum: Number(BUS),
    devnum: deviceNumber,
    idVendor: hex(device.vendorId, 4),
    idProduct: hex(device.productId, 4),
    bcdDevice: hex(device.release, 4),
    bDeviceClass: hex(device.class, 2),
    bDeviceSubClass: hex(device.subclass, 2),
    bDeviceProtocol: hex(device.protocol, 2),
    bNumConfigurations: 1,
    bConfigurationValue: device.configurationValue,
    bNumInterfaces: ` ${device.interfaceCount}`,
    version: ` ${device.usbVersion >> 8}.${hex(device.usbVersion & 0xff, 2)}`,
    speed: SPEED_MBIT[descriptors.speed],
    manufacturer: device.manufacturer,
    product: device.product,
    serial: device.serialNumber,
  };
  for (const [name, value] of Object.entries(attributes)) if (value !== null) tree.files.set(`${folder}/${name}`, `${value}\n`);
  tree.files.set(`${folder}/descriptors`, new Uint8Array([...descriptors.device, ...descriptors.configuration]));
  tree.links.set(`bus/usb/devices/${place.busId}`, folder);
  return layOutKernelDevice(tree, folder, 'bus/usb', {
    MAJOR: String(MAJOR.USB),
    MINOR: String(deviceNumber - 1),
    DEVNAME: `bus/usb/${BUS}/${number}`,
    DEVTYPE: 'usb_device',
    DRIVER: 'usb',
    PRODUCT: [device.vendorId, device.productId, device.release].map((value) => value.toString(16)).join('/'),
    TYPE: [device.class, device.subclass, device.protocol].join('/'),
    BUSNUM: BUS,
    DEVNUM: number,
  });
}

function layOutInterfaces(place: UsbPlace, device: DeviceDescription, deviceFolder: string, tree: Tree): DeviceProperties[] {
  return device.interfaces.filter(({ alternate }) => alternate === 0).map((description) => {
    const name = interfaceName(place, device, description.number);
    const folder = `${deviceFolder}/${name}`;
    const attributes = { bInterfaceNumber: description.number, bInterfaceClass: description.class, bInterfaceSubClass: description.subclass, bInterfaceProtocol: description.protocol };
    for (const [attribute, value] of Object.entries(attributes)) tree.files.set(`${folder}/${attribute}`, `${hex(value, 2)}\n`);
    tree.links.set(`bus/usb/devices/${name}`, folder);
    return layOutKernelDevice(tree, folder, 'bus/usb', { DEVTYPE: 'usb_interface', INTERFACE: [description.class, description.subclass, description.protocol].join('/') });
  });
}

function interfaceName({ busId }: UsbPlace, device: DeviceDescription, number: number): string {
  return `${busId}:${device.configurationValue}.${number}`;
}

function layOutHid(place: UsbPlace, device: DeviceDescription, deviceFolder: string, tree: Tree): DeviceProperties[] {
  const { deviceNumber, descriptors } = place;
  const [vendor, product] = [hex(device.vendorId, 4).toUpperCase(), hex(device.productId, 4).toUpperCase()];
  const hidName = `0003:${vendor}:${product}.${hex(deviceNumber, 4).toUpperCase()}`;
  const hidFolder = `${deviceFolder}/${interfaceName(place, device, 0)}/${hidName}`;
  const node = hidNodeOf(place);
  const rawFolder = `${hidFolder}/hidraw/${node}`;
  tree.files.set(`${hidFolder}/report_descriptor`, descriptors.hidReport ?? new Uint8Array());
  tree.links.set(`bus/hid/devices/${hidName}`, hidFolder);
  tree.links.set(`${rawFolder}/device`, hidFolder);
  tree.links.set(`class/hidraw/${node}`, rawFolder);
  return [
    layOutKernelDevice(tree, hidFolder, 'bus/hid', {
      DRIVER: 'hid-generic',
      HID_ID: `0003:0000${vendor}:0000${product}`,
      HID_NAME: hidNameOf(device),
      HID_PHYS: `usb-emulated-${place.busId}/input0`,
      HID_UNIQ: device.serialNumber ?? '',
    }),
    layOutKernelDevice(tree, rawFolder, 'class/hidraw', { MAJOR: String(MAJOR.HIDRAW), MINOR: String(deviceNumber), DEVNAME: node }),
  ];
}
