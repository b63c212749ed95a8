/** The contract of card channels over every driver and its emulated device, on a bus in memory. */
import { test } from 'vitest';
import { describeCardChannel, type ContractRig } from '#bridge/card-channel.contract.ts';
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { DEVICE_KINDS, type DeviceKind } from '#card-firmware-sim/usb/device-kinds.ts';
import { createContractReader, expectLateAnswerUntaken, openContractRig, type ContractReader } from './contract-reader.ts';
import { createInMemoryHid } from './in-memory-hid.ts';
import { createInMemoryUsb } from './in-memory-usb.ts';

function openRig(kind: DeviceKind): { reader: ContractReader; rig: Promise<ContractRig> } {
  const reader = createContractReader(kind);
  const { device } = reader.emulated;
  const usb = createInMemoryUsb();
  const hid = createInMemoryHid();
  const bus = device.descriptors.hidReport === undefined ? usb : hid;
  const source = openDeviceReaders([createUsbBus(usb.access), createHidBus(hid.access)]);
  return { reader, rig: openContractRig(reader, source, { plug: () => bus.plug(device), unplug: () => bus.unplug(device) }) };
}

for (const kind of DEVICE_KINDS) {
  describeCardChannel(`${kind}, in memory`, () => openRig(kind).rig);

  test(`${kind}: an answer that comes after its batch was given up is not taken for the next one's`, async () => {
    const { reader, rig: opening } = openRig(kind);
    const rig = await opening;
    await expectLateAnswerUntaken(reader, rig);
    await rig.end();
  });
}
