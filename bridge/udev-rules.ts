/** The udev rules that let the person at the computer, and so the browser, open the known USB and HID readers on Linux. */
import { KNOWN_READERS, type KnownReader } from './reader-registry.ts';

/** Before 73-seat-late.rules, which acts on the tag. */
export const UDEV_RULES_PATH = '/etc/udev/rules.d/60-kessai.rules';

/** The whole file; `uaccess` gives the device to whoever sits at the computer and to nobody else. */
export function udevRules(readers: readonly KnownReader[] = KNOWN_READERS): string {
  const lines = ['# Kessai: card readers that the browser drives itself. The person at the computer may open them.'];
  for (const reader of readers) {
    const rules = rulesFor(reader);
    if (rules.length > 0) lines.push(`# ${reader.title}`, ...rules);
  }
  lines.push(
    '# Another reader with APDUs over HID cannot be told by its usage page here: add its own vendor.',
    '# KERNEL=="hidraw*", SUBSYSTEM=="hidraw", ATTRS{idVendor}=="xxxx", ATTRS{idProduct}=="yyyy", TAG+="uaccess"',
  );
  return `${lines.join('\n')}\n`;
}

/** The lines for one reader; none where the browser does not open it or where no vendor is known. */
export function rulesFor({ road, vendorId, productIds }: KnownReader): string[] {
  if (road === 'native' || vendorId === undefined) return [];
  const hex = (id: number) => id.toString(16).padStart(4, '0');
  // WebUSB opens the device's own node; WebHID the hidraw node below it, so its parents' attributes are compared.
  const [nodes, attribute] = road === 'webusb' ? ['SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device"', 'ATTR'] : ['KERNEL=="hidraw*", SUBSYSTEM=="hidraw"', 'ATTRS'];
  const vendor = `${nodes}, ${attribute}{idVendor}=="${hex(vendorId)}"`;
  if (productIds.length === 0) return [`${vendor}, TAG+="uaccess"`];
  return productIds.map((id) => `${vendor}, ${attribute}{idProduct}=="${hex(id)}", TAG+="uaccess"`);
}
