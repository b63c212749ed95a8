import { mkdtempSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { openEmulatedReaders, type EmulatedReaders } from './emulated-readers.ts';
import { hidEcho, IDENTITY, openBareBrowser, STALL_NEXT, usbEcho, VENDOR_REQUEST, whyNoEmulatedReaders, writeBareExtension } from './emulated-readers.fixture.ts';

const reason = whyNoEmulatedReaders();
if (reason !== null) console.warn(`emulated readers are not tested: ${reason}`);

/** What the pages of the test keep between two steps. */
interface Kept {
  events: string[];
  usb: USBDevice;
  pending: Promise<string | undefined>;
}
declare const kept: Kept;

describe.skipIf(reason !== null)(`Chromium among emulated devices${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-emulated-'));
  const usb = usbEcho();
  const hid = hidEcho({ numbered: false });
  const numbered = hidEcho({ numbered: true });
  const withoutOut = hidEcho({ numbered: true, outEndpoint: false, serialNumber: 'HID-2' });
  const unpaired = usbEcho({ serialNumber: 'USB-unpaired' });
  let readers: EmulatedReaders;
  let context: BrowserContext;
  let page: Page;
  let url: string;

  beforeAll(async () => {
    readers = await openEmulatedReaders({ folder });
    const extension = await writeBareExtension(join(folder, 'extension'));
    url = extension.page;
    context = await openBareBrowser(folder, extension, readers.launch({ paired: [usb, hid, numbered, withoutOut].map(({ descriptors }) => descriptors) }));
    await readers.plug('usb', usb);
  });

  afterAll(async () => {
    await context.close();
    await readers.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function openPage(): Promise<Page> {
    const opened = await context.newPage();
    await opened.goto(url);
    await opened.evaluate(async () => {
      Object.assign(globalThis, { kept: { events: [] } });
      navigator.usb.onconnect = ({ device }) => kept.events.push(`usb+ ${device.serialNumber ?? ''}`);
      navigator.usb.ondisconnect = ({ device }) => kept.events.push(`usb- ${device.serialNumber ?? ''}`);
      navigator.hid.onconnect = (event) => kept.events.push(`hid+ ${(event as Event & Pick<HIDConnectionEvent, 'device'>).device.productName}`);
      navigator.hid.ondisconnect = (event) => kept.events.push(`hid- ${(event as Event & Pick<HIDConnectionEvent, 'device'>).device.productName}`);
      // Events begin with the first answer to these.
      await Promise.all([navigator.usb.getDevices(), navigator.hid.getDevices()]);
    });
    return opened;
  }

  const openUsb = (of: Page) => of.evaluate(async () => {
    const [device] = await navigator.usb.getDevices();
    if (device === undefined) throw new Error('no device');
    kept.usb = device;
    await device.open();
    await device.selectConfiguration(1);
    await device.claimInterface(0);
  });
  const happened = (event: string) => page.waitForFunction((wanted) => kept.events.includes(wanted), event, { timeout: 5_000, polling: 20 });

  beforeEach(async () => {
    page = await openPage();
  });
  afterEach(() => page.close());

  describe('USB', () => {
    test('a paired device is found, one that is not paired is not', async () => {
      await readers.plug('other', unpaired);
      const found = await page.evaluate(async () => (await navigator.usb.getDevices()).map(({ vendorId, productId, manufacturerName, productName, serialNumber, configurations }) => ({ vendorId, productId, manufacturerName, productName, serialNumber, interfaces: configurations[0]?.interfaces.length })));
      await readers.unplug('other');
      expect(found).toEqual([{ vendorId: 0x1209, productId: 1, manufacturerName: 'Kessai', productName: 'Bulk Echo', serialNumber: 'USB-1', interfaces: 3 }]);
    });

    test('control and bulk transfers go there and back, of any length', async () => {
      await openUsb(page);
      const result = await page.evaluate(async ({ identify, refused }) => {
        const control = (request: number) => kept.usb.controlTransferIn({ requestType: 'vendor', recipient: 'device', request, value: 0, index: 0 }, 4);
        const echoed: boolean[] = [];
        for (const length of [1, 63, 64, 65, 512, 4096, 60_000]) {
          const data = new Uint8Array(length).map((_, i) => i * 7 % 251);
          await kept.usb.transferOut(2, data);
          const { data: back } = await kept.usb.transferIn(1, 65_536);
          echoed.push(back !== undefined && back.byteLength === length && data.every((byte, i) => byte === back.getUint8(i)));
        }
        const answer = await control(identify);
        return { echoed, identity: [...new Uint8Array(answer.data?.buffer ?? new ArrayBuffer())], refused: (await control(refused)).status };
      }, VENDOR_REQUEST);
      expect(result).toEqual({ echoed: Array(7).fill(true), identity: IDENTITY, refused: 'stall' });
    });

    test('what does not fit into one transfer comes with the next', async () => {
      await openUsb(page);
      expect(await page.evaluate(async () => {
        await kept.usb.transferOut(2, new Uint8Array(600));
        return [(await kept.usb.transferIn(1, 512)).data?.byteLength, (await kept.usb.transferIn(1, 512)).data?.byteLength];
      })).toEqual([512, 88]);
    });

    test('a halted endpoint stalls until the halt is cleared', async () => {
      await openUsb(page);
      expect(await page.evaluate(async (stallNext) => {
        const read = async () => (await kept.usb.transferIn(1, 64)).status;
        await kept.usb.transferOut(2, new Uint8Array([stallNext]));
        const halted = [await read(), await read()];
        await kept.usb.clearHalt('in', 1);
        await kept.usb.transferOut(2, new Uint8Array([1]));
        return [...halted, await read()];
      }, STALL_NEXT)).toEqual(['stall', 'stall', 'ok']);
    });

    test('the interface of a smart card reader is refused, another of the same device is not', async () => {
      await openUsb(page);
      const claim = (number: number) => page.evaluate((wanted) => kept.usb.claimInterface(wanted).then(() => 'claimed', (error: unknown) => String(error)), number);
      expect(await claim(1)).toMatch(/^SecurityError: .*protected class/);
      expect(await claim(2)).toBe('claimed');
    });

    test('a second page cannot claim what the first holds, until it lets go', async () => {
      await openUsb(page);
      const second = await openPage();
      try {
        await expect(openUsb(second)).rejects.toThrow(/Unable to claim interface/);
        await page.evaluate(() => kept.usb.close());
        await second.evaluate(() => kept.usb.close());
        // The browser has answered; the system lets go a moment later.
        await vi.waitFor(() => openUsb(second), { timeout: 10_000 });
        expect(await second.evaluate(async () => (await kept.usb.transferOut(2, new Uint8Array(4))).bytesWritten)).toBe(4);
      } finally {
        await second.close();
      }
    });

    test('a page that is closed lets go too, and the last one leaves a fresh device', async () => {
      await openUsb(page);
      await page.evaluate(() => kept.usb.transferOut(2, new Uint8Array(4)));
      const before = usb.resets;
      await page.close();
      await expect.poll(() => usb.resets).toBe(before + 1);
      page = await openPage();
      await openUsb(page);
    });

    test('a reset loses what was under way, and the page can go on', async () => {
      await openUsb(page);
      const before = usb.resets;
      expect(await page.evaluate(async () => {
        await kept.usb.transferOut(2, new Uint8Array(4));
        await kept.usb.reset();
        const { status } = await kept.usb.transferOut(2, new Uint8Array([9, 9]));
        return [status, (await kept.usb.transferIn(1, 64)).data?.byteLength];
      })).toEqual(['ok', 2]);
      expect(usb.resets).toBe(before + 1);
    });

    test('closing ends a transfer that waits', async () => {
      await openUsb(page);
      expect(await page.evaluate(async () => {
        const waiting = kept.usb.transferIn(1, 64).then(({ status }) => status, (error: unknown) => String(error));
        await kept.usb.close();
        return waiting;
      })).toMatch(/^AbortError/);
    });

    test('unplugging ends a transfer that waits and is told; plugged in again it works', async () => {
      await openUsb(page);
      await page.evaluate(() => {
        kept.pending = kept.usb.transferIn(1, 64).then(({ status }) => status, (error: unknown) => String(error));
      });
      await readers.unplug('usb');
      await happened('usb- USB-1');
      expect(await page.evaluate(async () => [await kept.pending, kept.usb.opened, (await navigator.usb.getDevices()).length])).toEqual([expect.stringMatching(/^NetworkError: .*transfer error/), false, 0]);
      await readers.plug('usb', usb);
      await happened('usb+ USB-1');
      await openUsb(page);
      expect(await page.evaluate(async () => {
        await kept.usb.transferOut(2, new Uint8Array(3));
        return (await kept.usb.transferIn(1, 64)).data?.byteLength;
      })).toBe(3);
    });

    test('what a driver of the kernel holds cannot be claimed; what the user may not open is not opened', async () => {
      await readers.unplug('usb');
      await readers.plug('usb', usb, { heldInterfaces: [0] });
      await happened('usb+ USB-1');
      await expect(openUsb(page)).rejects.toThrow(/Unable to claim interface/);
      await readers.unplug('usb');
      await readers.plug('usb', usb, { denied: true });
      await page.waitForFunction(() => kept.events.filter((event) => event === 'usb+ USB-1').length === 2, undefined, { polling: 20 });
      await expect(openUsb(page)).rejects.toThrow(/SecurityError: .*Access denied/);
      await readers.unplug('usb');
      await readers.plug('usb', usb);
    });
  });

  describe('HID', () => {
    interface HidResult {
      readonly reports: readonly { readonly id: number; readonly bytes: readonly number[] }[];
      readonly feature: readonly number[];
    }

    /** Sends each report, waits for what comes back, and writes and reads the feature report. */
    function exchange(productName: string, reports: readonly { id: number; bytes: readonly number[] }[], featureId: number): Promise<HidResult> {
      return page.evaluate(async (wanted) => {
        const device = (await navigator.hid.getDevices()).find((candidate) => candidate.productName === wanted.productName);
        if (device === undefined) throw new Error('no device');
        await device.open();
        const back: { id: number; bytes: number[] }[] = [];
        for (const { id, bytes } of wanted.reports) {
          const input = new Promise<HIDInputReportEvent>((resolve) => device.addEventListener('inputreport', resolve, { once: true }));
          await device.sendReport(id, new Uint8Array(bytes));
          const event = await input;
          back.push({ id: event.reportId, bytes: [...new Uint8Array(event.data.buffer, event.data.byteOffset, event.data.byteLength)] });
        }
        await device.sendFeatureReport(wanted.featureId, new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]));
        const view = await device.receiveFeatureReport(wanted.featureId);
        await device.close();
        return { reports: back, feature: [...new Uint8Array(view.buffer, view.byteOffset, view.byteLength)] };
      }, { productName, reports, featureId });
    }
    const bytes = (length: number, seed: number) => Array.from({ length }, (_, i) => (i * 5 + seed) % 256);

    test('reports without ids, longer than a packet, and a feature report', async () => {
      await readers.plug('hid', hid);
      await happened('hid+ Report Echo');
      const reports = [1, 2, 3].map((seed) => ({ id: 0, bytes: bytes(200, seed) }));
      const result = await exchange('Report Echo', reports, 0);
      expect(result).toEqual({ reports, feature: [1, 2, 3, 4, 5, 6, 7, 8] });
    });

    test.each([['by an interrupt endpoint', numbered], ['by the control endpoint', withoutOut]])('reports with ids that go out %s, and a feature report', async (_, device) => {
      await readers.plug('numbered', device);
      await happened('hid+ Numbered Echo');
      const reports = [{ id: 1, bytes: bytes(63, 1) }, { id: 2, bytes: bytes(63, 2) }];
      const result = await exchange('Numbered Echo', reports, 3);
      await readers.unplug('numbered');
      await happened('hid- Numbered Echo');
      expect(result).toEqual({ reports, feature: [3, 1, 2, 3, 4, 5, 6, 7, 8] });
    });

    test('a feature report that the device refuses fails', async () => {
      await readers.plug('refusing', hidEcho({ numbered: false, serialNumber: 'HID-1' }));
      await happened('hid+ Report Echo');
      expect(await page.evaluate(async (refused) => {
        const device = (await navigator.hid.getDevices()).at(-1);
        await device?.open();
        return device?.sendFeatureReport(0, new Uint8Array([refused, 0, 0, 0, 0, 0, 0, 0])).then(() => 'sent', (error: unknown) => String(error));
      }, STALL_NEXT)).toMatch(/^NotAllowedError: .*feature report/);
      await readers.unplug('refusing');
    });

    // Chromium answers neither `opened` nor `sendReport` truly for a device that is gone: the event is all there is.
    test('unplugging is told; plugged in again it works', async () => {
      const [device] = await page.evaluate(async () => {
        const devices = await navigator.hid.getDevices();
        for (const each of devices) await each.open();
        return devices.map(({ opened }) => opened);
      });
      expect(device).toBe(true);
      await readers.unplug('hid');
      await happened('hid- Report Echo');
      await readers.plug('hid', hid);
      await happened('hid+ Report Echo');
      const reports = [{ id: 0, bytes: bytes(200, 7) }];
      expect(await exchange('Report Echo', reports, 0)).toEqual({ reports, feature: [1, 2, 3, 4, 5, 6, 7, 8] });
    });
  });

  test('nothing of it is seen outside of the browser', () => {
    expect(readFileSync('/proc/self/mounts', 'utf8')).not.toContain(folder);
  });
});
