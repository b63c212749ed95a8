/** To whom a reader belongs that was paired with the extension: its own pages, and no page of the web. */
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext } from 'playwright';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createEmulatedReader } from '#card-firmware-sim/usb/device-kinds.ts';
import { openEmulatedReaders, type EmulatedReaders } from './emulated-readers.ts';
import { type BareExtension, openBareBrowser, whyNoEmulatedReaders, writeBareExtension } from './emulated-readers.fixture.ts';

const reason = whyNoEmulatedReaders();

describe.skipIf(reason !== null)(`a reader that is paired with the extension${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-permission-'));
  const [usb, hid] = [createEmulatedReader('rc-s300').device, createEmulatedReader('apdu-hid').device];
  let readers: EmulatedReaders;
  let extension: BareExtension;
  let context: BrowserContext;
  let server: Server;

  beforeAll(async () => {
    server = createServer((_, response) => response.writeHead(200, { 'content-type': 'text/html' }).end('<!doctype html><title>a page</title>'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    readers = await openEmulatedReaders({ folder });
    extension = await writeBareExtension(join(folder, 'extension'));
    context = await openBareBrowser(folder, extension, readers.launch({ paired: [usb.descriptors, hid.descriptors] }));
    await readers.plug('usb', usb);
    await readers.plug('hid', hid);
  }, 60_000);
  afterAll(async () => {
    await context.close();
    await readers.close();
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true, force: true });
  });

  async function seenFrom(url: string): Promise<{ usb: number; hid: number }> {
    const page = await context.newPage();
    try {
      await page.goto(url);
      return await page.evaluate(async () => ({ usb: (await navigator.usb.getDevices()).length, hid: (await navigator.hid.getDevices()).length }));
    } finally {
      await page.close();
    }
  }

  test('is seen by its pages, and by no page of the web', async () => {
    await expect.poll(() => seenFrom(extension.page)).toEqual({ usb: 1, hid: 1 });
    expect(await seenFrom(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)).toEqual({ usb: 0, hid: 0 });
  });
});
