/** What every emulated reader must have, whichever kind it is. */
import { describe, expect, it } from 'vitest';
import { createEmulatedReader, DEVICE_KINDS } from './device-kinds.ts';
import { EchoApplication } from './testing-application.ts';
import { UNPLUGGED } from './usb-device.ts';

describe.each(DEVICE_KINDS)('%s', (kind) => {
  it('has a configuration of the length it says, a product name and the serial number asked for', () => {
    const { device: { descriptors } } = createEmulatedReader(kind, { serialNumber: 'S-42' });
    const [productIndex = 0, serialIndex = 0] = descriptors.device.subarray(15, 17);
    expect(descriptors.device).toHaveLength(18);
    expect(descriptors.configuration[2]! + 256 * descriptors.configuration[3]!).toBe(descriptors.configuration.length);
    expect(descriptors.strings[productIndex - 1]).not.toBe('');
    expect(descriptors.strings[serialIndex - 1]).toBe('S-42');
  });

  it('has the card on its field, off until the host begins, and nothing without one', () => {
    const { field, card } = createEmulatedReader(kind, { card: new EchoApplication(), picc: { randomUid: true } });
    expect(field.cards).toEqual([card]);
    expect(field.isOn).toBe(false);
    expect(createEmulatedReader(kind).field.cards).toEqual([]);
  });

  it('leaves the bus at the byte that is chosen', async () => {
    const { device } = createEmulatedReader(kind);
    device.faults.unplugAfterBytes = 10;
    expect(await device.transferOut(kind.startsWith('rc-') ? 2 : 1, new Uint8Array(64))).toBe(UNPLUGGED);
    expect(device.isUnplugged).toBe(true);
  });
});
