/** USB readers without hardware: emulated devices that a real Chromium on this machine finds by its own WebUSB and WebHID code, and nobody else does. */
import { randomBytes, randomInt } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { UsbDescriptors, UsbDevice } from '#card-firmware-sim/usb/usb-device.ts';
import { startUsbIpServer } from '#card-firmware-sim/usb/usbip-server.ts';
import type { BrowserLaunch } from './browser.ts';
import { launchAmongDevices } from './emulated-readers-browser.ts';
import { buildUsbTools } from './emulated-usb-tools.ts';
import { createUsbTree, type DeviceProperties, type UsbPlace } from './emulated-usb-tree.ts';

export interface EmulatedReadersOptions {
  /** Everything lies in it: the programs (kept for the next time), and the devices' files. Its name has no space and no colon. */
  readonly folder: string;
  readonly log?: (line: string) => void;
}

export interface PlugOptions {
  /** Numbers of the interfaces that another program or a driver of the kernel holds: claiming one fails. */
  readonly heldInterfaces?: readonly number[];
  /** The user may not open the device, as without the udev rule. */
  readonly denied?: boolean;
}

export interface EmulatedReaders {
  /** Plugs the device into the socket named `id`; browsers that run hear of it. A device that was unplugged is the same again to them if its serial number is. */
  plug(id: string, device: UsbDevice, options?: PlugOptions): Promise<void>;
  /** Transfers under way fail, then browsers hear of it. Nothing happens where no device is (one may have left by itself). */
  unplug(id: string): Promise<void>;
  /** For `startBrowser`; `paired` are the devices that the user has paired with our extension before; without it, those that the profile knows. Any number of browsers may run, but each device serves the first that opens it. */
  launch(options?: { readonly paired?: readonly UsbDescriptors[] }): BrowserLaunch;
  /** After the browsers; unplugs all. Safe to call twice. */
  close(): Promise<void>;
}

/** Groups 1 and 2 are the kernel's and udev's own. */
const FIRST_FREE_GROUP = 3;
const LAST_GROUP = 32;
const NETLINK_KOBJECT_UEVENT = 15;
const MAX_DEVICE_NUMBER = 127;

/** Needs root (a private view of /sys, and the right to announce devices), gcc, and Linux; throws an Error that says what is missing. */
export async function openEmulatedReaders(options: EmulatedReadersOptions): Promise<EmulatedReaders> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) throw new Error('Emulated readers need root on Linux.');
  const { log = () => undefined } = options;
  const folder = resolve(options.folder);
  await mkdir(folder, { recursive: true });
  const tools = await buildUsbTools(join(folder, 'programs'));
  const tree = await createUsbTree(join(folder, 'devices'), `kessai-${randomBytes(4).toString('hex')}`);
  const group = await freeUeventGroup();
  const sockets = new Map<string, string>();
  const plugged = new Map<string, { readonly place: UsbPlace; readonly announced: readonly DeviceProperties[] }>();
  let [deviceNumber, sequence] = [1, 0];

  const announce = async (action: 'add' | 'remove', properties: readonly DeviceProperties[]): Promise<void> => {
    for (const device of properties) await tools.announce(group, { ACTION: action, ...device, SEQNUM: String(++sequence), USEC_INITIALIZED: '1' });
  };
  const left = async (busId: string): Promise<void> => {
    const entry = plugged.get(busId);
    if (entry === undefined) return;
    plugged.delete(busId);
    await tree.removeNodes(entry.place);
    await tree.removeEntries(entry.place);
    await announce('remove', entry.announced.toReversed());
    log(`${busId} unplugged`);
  };
  // One after the other: a device that is plugged in at once again comes after it has left.
  let work: Promise<void> = Promise.resolve();
  const inTurn = (act: () => Promise<void>): Promise<void> => {
    const done = work.then(act);
    work = done.catch(() => undefined); // it is its caller's to handle
    return done;
  };
  const server = await startUsbIpServer({ onUnplugged: (busId) => void inTurn(() => left(busId)).catch((cause: unknown) => log(`${busId}: ${String(cause)}`)) });
  const unplug = async (id: string): Promise<void> => {
    const busId = sockets.get(id);
    if (busId !== undefined) server.unplug(busId);
    await work;
  };
  return {
    plug: (id, device, { heldInterfaces = [], denied = false } = {}) => inTurn(async () => {
      const busId = sockets.get(id) ?? `1-${sockets.size + 1}`;
      sockets.set(id, busId);
      if (plugged.has(busId)) throw new Error(`there is a device in ${id}`);
      deviceNumber = deviceNumber === MAX_DEVICE_NUMBER ? 2 : deviceNumber + 1;
      const place: UsbPlace = { serverPort: server.port, busId, deviceNumber, descriptors: device.descriptors, heldInterfaces, denied };
      server.plug(busId, device);
      const announced = await tree.add(place);
      plugged.set(busId, { place, announced });
      await announce('add', announced);
      log(`${busId} plugged in as ${id}`);
    }),
    unplug,
    launch: ({ paired } = {}) => launchAmongDevices({ folder, tree, shim: tools.shim, ueventGroup: group, paired: paired ?? null }),
    close: async () => {
      for (const id of sockets.keys()) await unplug(id);
      await server.close();
      await rm(join(folder, 'devices'), { recursive: true, force: true });
    },
  };
}

/** A netlink group that nobody listens to; runs that take the same one at once still do not see each other's devices. */
async function freeUeventGroup(): Promise<number> {
  const used = (await readFile('/proc/net/netlink', 'utf8'))
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, protocol]) => Number(protocol) === NETLINK_KOBJECT_UEVENT)
    .reduce((mask, [, , , groups]) => mask | parseInt(groups ?? '0', 16), 0);
  const count = LAST_GROUP - FIRST_FREE_GROUP + 1;
  const first = randomInt(count);
  for (let i = 0; i < count; i++) {
    const group = FIRST_FREE_GROUP + (first + i) % count;
    if (((used >>> (group - 1)) & 1) === 0) return group;
  }
  throw new Error('all netlink groups are in use: too many runs at once');
}
