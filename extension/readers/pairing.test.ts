import { expect, test, vi } from 'vitest';
import { KNOWN_READERS } from '#bridge/reader-registry.ts';
import { createPairedMemory } from './paired-memory.ts';
import { createPairing, hidFilters, roadOf, usbFilters, type HidAccess, type UsbAccess } from './pairing.ts';

const pasori = { vendorId: 0x054c, productId: 0x0dc9, productName: 'FeliCa Port/PaSoRi 4.0', serialNumber: '' };
const port100 = { vendorId: 0x054c, productId: 0x06c3, productName: 'RC-S380/P', serialNumber: '1234567' };
const dynaFlex = { vendorId: 0x0801, productId: 0x2020, productName: 'DynaFlex', collections: [{ usagePage: 0xff00 }] };
const diy = { vendorId: 0x1209, productId: 0x21f7, productName: '', collections: [{ usagePage: 0xffa0 }] };
const keyboard = { vendorId: 0x1209, productId: 0x0001, productName: 'Keys', collections: [{ usagePage: 1 }] };

function createBrowser() {
  const usbDevices: object[] = [];
  const hidDevices: object[] = [];
  const items: Record<string, unknown> = {};
  const memory = createPairedMemory({ get: (key) => Promise.resolve({ [key]: items[key] }), set: (changed) => Promise.resolve(void Object.assign(items, changed)) });
  const [usbNews, hidNews] = [new EventTarget(), new EventTarget()];
  const requestUsb = vi.fn<(options: USBDeviceRequestOptions) => Promise<object>>();
  const requestHid = vi.fn<(options: HIDDeviceRequestOptions) => Promise<object[]>>();
  const bus = (news: EventTarget, devices: object[], requestDevice: unknown) => Object.assign(news, { getDevices: () => Promise.resolve(devices), requestDevice });
  const plug = (devices: object[], device: object) => {
    const plugged = { ...device, forget: vi.fn(() => Promise.resolve(void devices.splice(devices.indexOf(plugged), 1))) };
    devices.push(plugged);
    return plugged;
  };
  const pairing = createPairing({
    usb: bus(usbNews, usbDevices, requestUsb) as unknown as UsbAccess,
    hid: bus(hidNews, hidDevices, requestHid) as unknown as HidAccess,
    memory,
    driverNameOf: (device) => (device === usbDevices[0] ? 'SONY RC-S300' : undefined),
  });
  return { pairing, memory, items, requestUsb, requestHid, usbNews, plugUsb: (device: object) => plug(usbDevices, device), plugHid: (device: object) => plug(hidDevices, device), unplugAll: () => void usbDevices.splice(0) };
}

test('the filters name exactly the readers of the registry, one family at a time', () => {
  expect(usbFilters('rc-s300')).toEqual([{ vendorId: 0x054c, productId: 0x0dc8 }, { vendorId: 0x054c, productId: 0x0dc9 }]);
  expect(usbFilters('magtek')).toEqual([]);
  expect(hidFilters('vivotech')).toEqual([{ vendorId: 0x0acd }]);
  expect(hidFilters('apdu-hid')).toEqual([{ usagePage: 0xffa0 }]);
  for (const { kind, road } of KNOWN_READERS) {
    if (kind === 'ccid') continue;
    expect(roadOf(kind)).toBe(road);
    // An empty list would open a chooser with every device of the computer.
    expect((road === 'webusb' ? usbFilters(kind) : hidFilters(kind)).length, kind).toBeGreaterThan(0);
    for (const filter of [...usbFilters(kind), ...hidFilters(kind)]) expect(Object.keys(filter).length, kind).toBeGreaterThan(0);
  }
});

test('connected readers are recognised with their names; devices that are none are left out', async () => {
  const { pairing, plugUsb, plugHid } = createBrowser();
  plugUsb(pasori);
  plugHid(dynaFlex);
  plugHid(diy);
  plugHid(keyboard);
  expect(await pairing.list()).toEqual([
    { id: 'device-1', kind: 'rc-s300', name: 'Sony PaSoRi RC-S300 (FeliCa Port/PaSoRi 4.0)', driverName: 'SONY RC-S300', isConnected: true, isKept: false },
    { id: 'device-2', kind: 'magtek', name: 'MagTek DynaFlex, DynaProx (DynaFlex)', driverName: undefined, isConnected: true, isKept: undefined },
    { id: 'device-3', kind: 'apdu-hid', name: 'APDU over HID', driverName: undefined, isConnected: true, isKept: false },
  ]);
});

test('a reader that is unplugged stays on the list, with what the browser does with its permission', async () => {
  const { pairing, plugUsb, unplugAll } = createBrowser();
  plugUsb(pasori);
  plugUsb(port100);
  await pairing.list();
  unplugAll();
  expect((await pairing.list()).map(({ kind, isConnected, isKept }) => [kind, isConnected, isKept])).toEqual([
    ['rc-s300', false, false],
    ['rc-s380', false, true],
  ]);
});

test('no serial number is remembered or shown', async () => {
  const { pairing, plugUsb, items } = createBrowser();
  plugUsb(port100);
  expect(JSON.stringify([await pairing.list(), items])).not.toContain(port100.serialNumber);
});

test('a click asks the browser for one family; a chooser that is closed is no error on either road', async () => {
  const { pairing, requestUsb, requestHid } = createBrowser();
  requestUsb.mockResolvedValueOnce({});
  expect(await pairing.pair('rc-s380')).toBe('paired');
  expect(requestUsb).toHaveBeenCalledWith({ filters: usbFilters('rc-s380') });
  requestUsb.mockRejectedValueOnce(new DOMException('No device selected.', 'NotFoundError'));
  expect(await pairing.pair('rc-s300')).toBe('cancelled');
  requestHid.mockResolvedValueOnce([]);
  expect(await pairing.pair('magtek')).toBe('cancelled');
  requestHid.mockResolvedValueOnce([{}]);
  expect(await pairing.pair('magtek')).toBe('paired');
});

test('what the browser forbids, or does not have, is a failure with its code', async () => {
  const { pairing, requestUsb, memory } = createBrowser();
  requestUsb.mockRejectedValueOnce(new DOMException('Access to the feature is disallowed by policy', 'SecurityError'));
  await expect(pairing.pair('rc-s300')).rejects.toMatchObject({ code: 'reader/permission' });
  const bare = createPairing({ usb: undefined, hid: undefined, memory, driverNameOf: () => undefined });
  await expect(bare.pair('rc-s300')).rejects.toMatchObject({ code: 'reader/permission' });
  await expect(bare.pair('magtek')).rejects.toMatchObject({ code: 'reader/permission' });
  expect(await bare.list()).toEqual([]);
});

test('forgetting gives the permission back and takes the reader off the list, also one that is away', async () => {
  const { pairing, plugUsb, unplugAll } = createBrowser();
  const plugged = plugUsb(pasori);
  plugUsb(port100);
  const [here] = await pairing.list();
  await pairing.forget(here!.id);
  expect(plugged.forget).toHaveBeenCalledOnce();
  expect((await pairing.list()).map(({ kind }) => kind)).toEqual(['rc-s380']);
  unplugAll();
  const [away] = await pairing.list();
  await pairing.forget(away!.id);
  expect(await pairing.list()).toEqual([]);
});

test('plugging in and out is told until one stops listening', () => {
  const { pairing, usbNews } = createBrowser();
  const callback = vi.fn();
  const stop = pairing.onChange(callback);
  usbNews.dispatchEvent(new Event('connect'));
  usbNews.dispatchEvent(new Event('disconnect'));
  stop();
  usbNews.dispatchEvent(new Event('connect'));
  expect(callback).toHaveBeenCalledTimes(2);
});

test('a memory that cannot be read counts as empty', async () => {
  for (const stored of [undefined, 'x', [1, { kind: 'toaster', name: 'x' }, { kind: 'magtek' }]]) {
    expect(await createPairedMemory({ get: (key) => Promise.resolve({ [key]: stored }), set: () => Promise.resolve() }).all()).toEqual([]);
  }
});
