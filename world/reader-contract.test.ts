/** The contract of card channels over every driver and its emulated device, on a bus in memory. */
import { describeCardChannel } from '#bridge/card-channel.contract.ts';
import { openDeviceReaders } from '#bridge/device/device-readers.ts';
import { createHidBus } from '#bridge/webhid/hid-bus.ts';
import { createUsbBus } from '#bridge/webusb/usb-bus.ts';
import { DEVICE_KINDS } from '#card-firmware-sim/usb/device-kinds.ts';
import { createContractReader, openContractRig } from './contract-reader.ts';
import { createInMemoryHid } from './in-memory-hid.ts';
import { createInMemoryUsb } from './in-memory-usb.ts';

for (const kind of DEVICE_KINDS) {
  describeCardChannel(`${kind}, in memory`, () => {
    const reader = createContractReader(kind);
    const { device } = reader.emulated;
    const usb = createInMemoryUsb();
    const hid = createInMemoryHid();
    const bus = device.descriptors.hidReport === undefined ? usb : hid;
    const source = openDeviceReaders([createUsbBus(usb.access), createHidBus(hid.access)]);
    return openContractRig(reader, source, { plug: () => bus.plug(device), unplug: () => bus.unplug(device) });
  });
}
