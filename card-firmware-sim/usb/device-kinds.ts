/** The readers that can be emulated, by name: a device for a bus, its field with a card on it, and what it does wrong on command. */
import { ApduHidDevice } from './hid/apdu-hid-device.ts';
import { ContactlessField } from './field.ts';
import { MagtekDevice } from './hid/magtek-device.ts';
import { MisbehavingDevice } from './misbehaving-device.ts';
import { Picc } from './picc.ts';
import { RcS300 } from './rc-s300.ts';
import { RcS380 } from './rc-s380.ts';
import { VivotechDevice } from './hid/vivotech-device.ts';
import type { CardApplication } from './usb-device.ts';
import type { PiccOptions } from './picc.ts';

interface DeviceOptions {
  readonly field: ContactlessField;
  readonly serialNumber?: string;
}

const DEVICES = {
  'rc-s300': (options: DeviceOptions) => new RcS300(options),
  'rc-s380': (options: DeviceOptions) => new RcS380(options),
  magtek: (options: DeviceOptions) => new MagtekDevice(options),
  vivotech: (options: DeviceOptions) => new VivotechDevice(options),
  'apdu-hid': (options: DeviceOptions) => new ApduHidDevice(options),
} as const;

export type DeviceKind = keyof typeof DEVICES;
export const DEVICE_KINDS = Object.keys(DEVICES) as readonly DeviceKind[];

export interface EmulatedReaderOptions {
  /** What the card that lies on the reader carries; without one the field is empty. */
  readonly card?: CardApplication;
  /** ATS, random UID, how it asks for time. */
  readonly picc?: Omit<PiccOptions, 'application'>;
  /** Several readers of one kind need one each. Default: the device's own. */
  readonly serialNumber?: string;
  /** Default: one of its own. */
  readonly field?: ContactlessField;
}

export interface EmulatedReader<K extends DeviceKind = DeviceKind> {
  readonly kind: K;
  /** For the bus; its `faults` are those of cable and endpoints: slow, stalled, unplugged at byte N. */
  readonly device: MisbehavingDevice;
  /** Cards are put and lifted here, and what goes wrong in the air is ordered here. */
  readonly field: ContactlessField;
  /** The card of the options: its storm of S(WTX) and its slowness are live. */
  readonly card: Picc | undefined;
  /** The device's own bad days; its kind says which. */
  readonly misbehave: ReturnType<(typeof DEVICES)[K]>['misbehave'];
}

export function createEmulatedReader<K extends DeviceKind>(kind: K, { card, picc, serialNumber, field = new ContactlessField() }: EmulatedReaderOptions = {}): EmulatedReader<K> {
  const device = DEVICES[kind]({ field, ...(serialNumber === undefined ? {} : { serialNumber }) }) as ReturnType<(typeof DEVICES)[K]>;
  const lying = card === undefined ? undefined : new Picc({ ...picc, application: card });
  if (lying !== undefined) field.put(lying);
  return { kind, device: new MisbehavingDevice(device), field, card: lying, misbehave: device.misbehave };
}
