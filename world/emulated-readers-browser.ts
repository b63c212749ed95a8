/** Starts Chromium among emulated devices: its own view of the file system, with their /sys, and a profile that is paired with some of them. */
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { UsbDescriptors } from '#card-firmware-sim/usb/usb-device.ts';
import type { BrowserLaunch } from './browser.ts';
import { describeDevice, hidInterfaceOf, hidNameOf } from './usb-descriptors.ts';
import { REAL_PARTS_OF_SYS, type UsbTree } from './emulated-usb-tree.ts';
import { readText, writeWhole } from './pki-store.ts';

export interface BrowserAmongDevices {
  readonly folder: string;
  readonly tree: UsbTree;
  readonly shim: string;
  readonly ueventGroup: number;
  /** What the user has paired earlier; only devices with a serial number stay so. Null: as the profile has it. */
  readonly paired: readonly UsbDescriptors[] | null;
}

export function launchAmongDevices(options: BrowserAmongDevices): BrowserLaunch {
  return {
    wrapExecutable: async (executablePath) => {
      const wrapper = join(options.folder, 'browser-among-devices.sh');
      await writeFile(wrapper, wrapperScript(options, executablePath));
      await chmod(wrapper, 0o755);
      return wrapper;
    },
    prepareProfile: async (userDataDir, origin) => {
      if (options.paired !== null) await pair(userDataDir, origin, options.paired);
    },
  };
}

/** The mounts are private and end with the browser; each step replaces the process, so that who ends it ends the browser. */
function wrapperScript({ tree, shim, ueventGroup }: BrowserAmongDevices, executablePath: string): string {
  return `#!/bin/sh
exec unshare --mount --propagation private sh -e -c '
tree=$1
shift
for part in ${REAL_PARTS_OF_SYS.join(' ')}; do
  if [ -d "/sys/$part" ]; then mount --rbind "/sys/$part" "$tree/$part"; fi
done
mount --rbind "$tree" /sys
exec env "$@"
' sh ${[
    tree.sysFolder,
    `LD_PRELOAD=${shim}`,
    `KESSAI_USB_DEV=${tree.devFolder}`,
    `KESSAI_USB_UEVENT_GROUP=${ueventGroup}`,
    // libudev believes only in a real sysfs otherwise.
    'SYSTEMD_DEVICE_VERIFY_SYSFS=0',
    executablePath,
  ].map(quote).join(' ')} "$@"
`;
}

function quote(text: string): string {
  return `'${text.replaceAll('\'', `'\\''`)}'`;
}

type Json = Record<string, unknown>;

/** The state that Chromium's chooser leaves behind (usb_chooser_context.cc, hid_chooser_context.cc). */
export async function pair(userDataDir: string, origin: string, paired: readonly UsbDescriptors[]): Promise<void> {
  const file = join(userDataDir, 'Default/Preferences');
  const preferences = JSON.parse(await readText(file) ?? '{}') as Json;
  const profile = asObject(preferences['profile']);
  const contentSettings = asObject(profile['content_settings']);
  const exceptions = asObject(contentSettings['exceptions']);
  const grants = (kind: 'usb' | 'hid') => {
    const objects = paired.map(chosenObject).filter((chosen) => chosen.kind === kind).map((chosen) => chosen.object);
    return objects.length === 0 ? {} : { [`${new URL(origin).href.replace(/[/]$/, '')},*`]: { last_modified: '13400000000000000', setting: { 'chosen-objects': objects } } };
  };
  const changed = { ...exceptions, usb_chooser_data: grants('usb'), hid_chooser_data: grants('hid') };
  await writeWhole(file, JSON.stringify({ ...preferences, profile: { ...profile, content_settings: { ...contentSettings, exceptions: changed } } }), 'replace');
}

function chosenObject(descriptors: UsbDescriptors): { kind: 'usb' | 'hid'; object: Json } {
  const device = describeDevice(descriptors);
  if (device.serialNumber === null) throw new Error(`${device.product ?? 'a device'} has no serial number: Chromium forgets its pairing with the device`);
  const kind = hidInterfaceOf(device) === null ? 'usb' : 'hid';
  return { kind, object: { name: device.product ?? hidNameOf(device), 'vendor-id': device.vendorId, 'product-id': device.productId, 'serial-number': device.serialNumber } };
}

function asObject(value: unknown): Json {
  return typeof value === 'object' && value !== null ? value as Json : {};
}
