import { mkdirSync, mkdtempSync, rmSync, symlinkSync, chmodSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { Finding, FindingId } from '#bridge/doctor-findings.ts';
import { udevRules, UDEV_RULES_PATH } from '#bridge/udev-rules.ts';
import { parseHex } from '#protocol/bytes.ts';
import { fakePlatform, type FakePlatform } from '../platform.fixture.ts';
import { listUsbDevices, usagePagesOf } from './usb-devices.ts';
import { findUsbTroubles } from './usb-findings.ts';

const folder = mkdtempSync(join(tmpdir(), 'kessai-usb-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
let computers = 0;
let linux: FakePlatform;
const newFolder = () => join(folder, String(computers++));
beforeEach(() => {
  linux = fakePlatform('linux', newFolder());
  plug('usb1', { idVendor: '1d6b', idProduct: '0002' });
});

function plug(place: string, attributes: Record<string, string>, interfaces: Record<string, { driver?: string; descriptor?: string; hidraw?: string }> = {}): void {
  for (const [name, value] of Object.entries({ busnum: '1', devnum: '7', ...attributes })) linux.put(`/sys/bus/usb/devices/${place}/${name}`, `${value}\n`);
  for (const [name, { driver, descriptor, hidraw }] of Object.entries(interfaces)) {
    const at = `/sys/bus/usb/devices/${place}:${name}`;
    linux.put(`${at}/bInterfaceNumber`, '00\n');
    if (descriptor !== undefined) linux.put(`${at}/0003:${attributes['idVendor'] ?? ''}:${attributes['idProduct'] ?? ''}.0001/report_descriptor`, parseHex(descriptor));
    if (hidraw !== undefined) mkdirSync(linux.locate(`${at}/0003:${attributes['idVendor'] ?? ''}:${attributes['idProduct'] ?? ''}.0001/hidraw/${hidraw}`), { recursive: true });
    if (driver === undefined) continue;
    linux.put(`/sys/bus/usb/drivers/${driver}/${place}:${name}`, '');
    symlinkSync(`../../drivers/${driver}`, linux.locate(`${at}/driver`));
  }
  linux.put('/dev/bus/usb/001/007', '');
}

const RC_S380 = { idVendor: '054c', idProduct: '06c3', serial: '0012345' };
const RC_S300 = { idVendor: '054c', idProduct: '0dc8' };
const look = async (platform: FakePlatform = linux) => (await findUsbTroubles(platform)).findings;
const statesOf = (findings: readonly Finding[], id: FindingId) => findings.filter((finding) => finding.id === id && finding.about !== undefined).map(({ state }) => state);

describe('on Linux', () => {
  test('a reader is recognised, with the road to it', async () => {
    plug('1-2', RC_S300);
    const { findings, readers } = await findUsbTroubles(linux);
    expect(readers.map(({ kind }) => kind)).toEqual(['rc-s300']);
    expect(findings).toContainEqual({ id: 'usb-reader', state: 'ok', about: 'Sony PaSoRi RC-S300 (054c:0dc8)', seen: expect.stringContaining('WebUSB') as string });
    expect(statesOf(findings, 'permission-forgotten')).toEqual(['unknown']);
    expect(statesOf(findings, 'shared-with-pcsc')).toEqual(['unknown']);
  });

  test('port100 bound to an RC-S380 is a problem, and another driver on another device is not', async () => {
    plug('1-1.4', RC_S380, { '1.0': { driver: 'port100' } });
    expect(await look()).toContainEqual({ id: 'port100', state: 'problem', about: 'Sony PaSoRi RC-S380 (054c:06c3)', seen: "the kernel's driver port100 holds it (USB place 1-1.4)" });
    expect(statesOf(await look(), 'permission-forgotten')).toEqual([]);
  });

  test('an RC-S380 that no driver holds is fine', async () => {
    plug('1-1', RC_S380, { '1.0': {} });
    plug('1-2', { idVendor: '0000', idProduct: '0001' }, { '1.0': { driver: 'usbhid' } });
    expect(statesOf(await look(), 'port100')).toEqual(['ok']);
  });

  test('pn533 that took an ACR122U is a problem', async () => {
    plug('1-1', { idVendor: '072f', idProduct: '2200' }, { '1.0': { driver: 'pn533_usb' } });
    expect(statesOf(await look(), 'pn533')).toEqual(['problem']);
    expect(statesOf(await look(), 'udev-rule')).toEqual([]);
  });

  test('our own rules satisfy it, for every product that they name', async () => {
    plug('1-1', RC_S300);
    expect(statesOf(await look(), 'udev-rule')).toEqual(['problem']);
    linux.put(UDEV_RULES_PATH, udevRules());
    const findings = await look();
    expect(findings.filter(({ id }) => id === 'udev-rule')).toEqual([expect.objectContaining({ state: 'ok' })]);
  });

  test.each([
    ['a comment', '# SUBSYSTEM=="usb", ATTR{idVendor}=="054c", TAG+="uaccess"'],
    ['another product', 'SUBSYSTEM=="usb", ATTR{idVendor}=="054c", ATTR{idProduct}=="0001", TAG+="uaccess"'],
    ['a line that gives nothing', 'SUBSYSTEM=="usb", ATTR{idVendor}=="054c", ENV{ID_MODEL}="x"'],
    ['a rule about hidraw', 'KERNEL=="hidraw*", ATTRS{idVendor}=="054c", TAG+="uaccess"'],
  ])('%s is no rule for a USB reader', async (_, line) => {
    plug('1-1', RC_S300);
    linux.put('/lib/udev/rules.d/70-x.rules', `${line}\n`);
    expect(statesOf(await look(), 'udev-rule')).toEqual(['problem']);
  });

  test.each([
    ['the whole vendor, by mode', 'SUBSYSTEM=="usb", ATTRS{idVendor}=="054C", MODE="0666"'],
    ['one of several products, over two lines', 'SUBSYSTEM=="usb", ATTR{idVendor}=="054c", \\\n ATTR{idProduct}=="06c1|0dc8", GROUP="plugdev"'],
  ])('a rule of the distribution for %s will do', async (_, line) => {
    plug('1-1', RC_S300);
    linux.put('/usr/lib/udev/rules.d/70-x.rules', `${line}\n`);
    expect(statesOf(await look(), 'udev-rule')).toEqual(['ok']);
  });

  test('the device file is really tried', async () => {
    plug('1-1', RC_S300);
    expect(statesOf(await look(), 'device-access')).toEqual(['ok']);
    expect((await findUsbTroubles({ ...linux, userId: 0 })).findings).toContainEqual(expect.objectContaining({ id: 'device-access', state: 'unknown' }));
    rmSync(linux.locate('/dev/bus/usb/001/007'));
    expect(statesOf(await look(), 'device-access')).toEqual(['problem']);
  });

  test.skipIf(process.getuid?.() === 0)('a device file of root alone is a problem', async () => {
    plug('1-1', RC_S300);
    chmodSync(linux.locate('/dev/bus/usb/001/007'), 0);
    expect(statesOf(await look(), 'device-access')).toEqual(['problem']);
  });

  test('a reader that is told by its usage page alone is recognised by its report descriptor, and its hidraw node looked at', async () => {
    plug('1-3', { idVendor: '1209', idProduct: '21f7', serial: '1' }, { '1.0': { driver: 'usbhid', descriptor: '06A0FF0901A101090275089540810209039102C0', hidraw: 'hidraw3' } });
    linux.put('/dev/hidraw3', '');
    const findings = await look();
    expect(findings).toContainEqual({ id: 'device-access', state: 'ok', about: 'APDU over HID (1209:21f7)', seen: '/dev/hidraw3 may be opened by this user' });
    expect(statesOf(findings, 'udev-rule')).toEqual(['problem']);
    linux.put('/etc/udev/rules.d/1.rules', 'KERNEL=="hidraw*", SUBSYSTEM=="hidraw", ATTRS{idVendor}=="1209", TAG+="uaccess"\n');
    expect(statesOf(await look(), 'udev-rule')).toEqual(['ok']);
  });

  test('without readers it says so, and which rules are still missing', async () => {
    const findings = await look();
    expect(findings.map(({ id, state }) => [id, state])).toEqual([['usb-reader', 'unknown'], ['udev-rule', 'unknown']]);
    expect(findings[1]?.seen).toContain('MagTek');
  });

  test('a computer that shows no USB bus is unknown, not empty', async () => {
    expect(await look(fakePlatform('linux', newFolder()))).toEqual([expect.objectContaining({ id: 'usb-reader', state: 'unknown' })]);
  });
});

describe('usage pages', () => {
  test.each([
    ['0601FF', [0xff01]],
    ['050C', [0x0c]],
    ['0900050106A0FF', [1, 0xffa0]],
    ['07A0FF0000', [0xffa0]],
    ['FE0201AABB0501', [1]],
    ['06A0', [0xa0]],
    ['', []],
  ])('of %s are %j', (hex, pages) => {
    expect(usagePagesOf(parseHex(hex))).toEqual(pages);
  });
});

describe('on Windows', () => {
  const PNPUTIL = 'Instanz-ID:                USB\\VID_054C&PID_06C1\\0012345\r\nInstanz-ID:                USB\\VID_054C&PID_0DC8&MI_01\\6&1&0&0001\r\nInstanz-ID:                USB\\ROOT_HUB30\\4&1\r\n';
  const SERVICE = 'reg.exe query HKLM\\SYSTEM\\CurrentControlSet\\Enum\\USB\\VID_054C&PID_06C1 /s /v Service';
  const windows = (service?: string) =>
    fakePlatform('windows', newFolder(), { outputs: { 'pnputil.exe /enum-devices /connected': PNPUTIL, ...(service === undefined ? {} : { [SERVICE]: `\r\nHKLM...\r\n    Service    REG_SZ    ${service}\r\n` }) } });

  test.each([
    ['WINUSB', 'ok'],
    ['NFCPort', 'problem'],
    [undefined, 'unknown'],
  ])('an RC-S380 whose driver is %s is %s', async (service, state) => {
    const findings = await look(windows(service));
    expect(statesOf(findings, 'not-winusb')).toEqual([state]);
    expect(findings.filter(({ id }) => id === 'usb-reader')).toHaveLength(1);
  });

  test('pnputil that is not there leaves it unknown', async () => {
    expect(await listUsbDevices(fakePlatform('windows', newFolder()))).toBeUndefined();
  });
});

describe('on macOS', () => {
  const profiler = (report: unknown) => fakePlatform('macos', newFolder(), { outputs: { '/usr/sbin/system_profiler -json SPUSBDataType': typeof report === 'string' ? report : JSON.stringify(report) } });

  test('readers below hubs are found', async () => {
    const device = { _name: 'RC-S300', vendor_id: '0x054c  (Sony Corp.)', product_id: '0x0dc8', location_id: '0x1', more: 1 };
    const findings = await look(profiler({ SPUSBDataType: [{ _name: 'bus', _items: [{ _name: 'hub', vendor_id: 'apple_vendor_id', product_id: '0x1', _items: [device] }] }] }));
    expect(findings.map(({ id }) => id)).toEqual(['usb-reader', 'permission-forgotten', 'shared-with-pcsc']);
  });

  test.each([['no JSON', 'x'], ['another shape', { SPUSBDataType: 3 }]])('%s is unknown', async (_, report) => {
    expect(await listUsbDevices(profiler(report))).toBeUndefined();
  });
});
