/** The readers that we know: over which road each is reached, and by what it is recognised. Drivers, pairing page, doctor and documents share it. */

/** The reader families that the browser can drive by itself, without any installed program. */
export type DeviceReaderKind = 'rc-s300' | 'rc-s380' | 'magtek' | 'vivotech' | 'apdu-hid';
export type Road = 'webusb' | 'webhid' | 'native';
export type OperatingSystem = 'linux' | 'windows' | 'macos' | 'chromeos';

/** What is known to go wrong; each has a text and a way out in the doctor. */
export type KnownTrouble =
  /** The system lets only root open the device file: a udev rule is missing. */
  | 'udev-rule'
  /** The kernel's NFC driver port100 has taken the reader. */
  | 'port100'
  /** Windows has bound the vendor's driver: it must be switched to WinUSB. */
  | 'not-winusb'
  /** pcscd, or another program, works with the reader at the same time. */
  | 'shared-with-pcsc'
  /** No serial number: the browser forgets the permission when the reader is unplugged. */
  | 'permission-forgotten'
  /** A payment terminal: pass-through may have to be switched on by its owner. */
  | 'pass-through-locked';

export interface KnownReader {
  readonly kind: DeviceReaderKind | 'ccid';
  readonly road: Road;
  /** Maker and model, as printed on it. */
  readonly title: string;
  /** USB vendor; undefined where the kind is recognised by its usage page alone. */
  readonly vendorId: number | undefined;
  /** USB products; empty: every product of the vendor. */
  readonly productIds: readonly number[];
  /** HID usage page, where it decides. */
  readonly usagePage?: number;
  readonly troubles: Readonly<Partial<Record<OperatingSystem, readonly KnownTrouble[]>>>;
}

export const KNOWN_READERS: readonly KnownReader[] = [
  {
    kind: 'rc-s300',
    road: 'webusb',
    title: 'Sony PaSoRi RC-S300',
    vendorId: 0x054c,
    productIds: [0x0dc8, 0x0dc9],
    troubles: { linux: ['udev-rule', 'shared-with-pcsc'], windows: ['not-winusb', 'shared-with-pcsc'], macos: ['shared-with-pcsc'] },
  },
  {
    kind: 'rc-s380',
    road: 'webusb',
    title: 'Sony PaSoRi RC-S380',
    vendorId: 0x054c,
    productIds: [0x06c1, 0x06c3],
    troubles: { linux: ['port100', 'udev-rule'], windows: ['not-winusb'] },
  },
  {
    kind: 'magtek',
    road: 'webhid',
    title: 'MagTek DynaFlex, DynaProx',
    vendorId: 0x0801,
    productIds: [0x2020, 0x2023, 0x2024],
    troubles: { linux: ['udev-rule', 'pass-through-locked'], windows: ['pass-through-locked'], macos: ['pass-through-locked'] },
  },
  {
    kind: 'vivotech',
    road: 'webhid',
    title: 'ID TECH ViVOpay',
    vendorId: 0x0acd,
    productIds: [],
    troubles: { linux: ['udev-rule', 'pass-through-locked'], windows: ['pass-through-locked'], macos: ['pass-through-locked'] },
  },
  { kind: 'apdu-hid', road: 'webhid', title: 'APDU over HID', vendorId: undefined, productIds: [], usagePage: 0xffa0, troubles: { linux: ['udev-rule'] } },
  // CCID readers, which the browser keeps to itself (protected class 0B): the native host reaches them. For the doctor's advice only.
  { kind: 'ccid', road: 'native', title: 'ACS ACR122U, ACR1252U, ACR1552U', vendorId: 0x072f, productIds: [], troubles: {} },
  { kind: 'ccid', road: 'native', title: 'HID OMNIKEY', vendorId: 0x076b, productIds: [], troubles: {} },
  { kind: 'ccid', road: 'native', title: 'Identiv uTrust', vendorId: 0x04e6, productIds: [], troubles: {} },
  { kind: 'ccid', road: 'native', title: 'SpringCard', vendorId: 0x1c34, productIds: [], troubles: {} },
];

/** The entry for a connected device; `usagePages` of its HID collections. */
export function recogniseReader(vendorId: number, productId: number, usagePages: readonly number[] = []): KnownReader | undefined {
  return KNOWN_READERS.find((reader) =>
    reader.vendorId === undefined
      ? reader.usagePage !== undefined && usagePages.includes(reader.usagePage)
      : reader.vendorId === vendorId && (reader.productIds.length === 0 || reader.productIds.includes(productId)),
  );
}
