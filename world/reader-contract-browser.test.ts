/** The contract of card channels over every driver in a real Chromium: its own WebUSB and WebHID code, on emulated devices. */
import { mkdtempSync } from 'node:fs';
import { appendFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BrowserContext, Page } from 'playwright';
import { build } from 'vite';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { describeCardChannel } from '#bridge/card-channel.contract.ts';
import type { ReaderSource } from '#bridge/reader-source.ts';
import { DEVICE_KINDS, type DeviceKind } from '#card-firmware-sim/usb/device-kinds.ts';
import { parseHex } from '#protocol/bytes.ts';
import { createContractReader, expectLateAnswerUntaken, openContractRig, untilState, type ContractReader } from './contract-reader.ts';
import { openEmulatedReaders, type EmulatedReaders } from './emulated-readers.ts';
import { type BareExtension, openBareBrowser, whyNoEmulatedReaders, writeBareExtension } from './emulated-readers.fixture.ts';
import { openPageSource } from './page-source.ts';

const reason = whyNoEmulatedReaders();
if (reason !== null) console.warn(`the readers' drivers are not tested in a browser: ${reason}`);

/** As in the product, but quicker to look: a test waits for each look. */
const PACE = { seekMs: 40, presenceMs: 60, reopenMs: 100, longestReopenMs: 400 };
const never = new AbortController().signal;
const echo = { apdu: parseHex('80EE0000012A00'), expectedStatus: 0x9100 };
vi.setConfig({ testTimeout: 60_000 });

describe.skipIf(reason !== null)(`in Chromium${reason === null ? '' : ` (skipped: ${reason})`}`, () => {
  const folder = mkdtempSync(join(tmpdir(), 'kessai-contract-'));
  const readers = new Map<DeviceKind, ContractReader>(DEVICE_KINDS.map((kind) => [kind, createContractReader(kind)]));
  let emulated: EmulatedReaders;
  let extension: BareExtension;
  let context: BrowserContext;
  const pages: Page[] = [];

  beforeAll(async () => {
    emulated = await openEmulatedReaders({ folder });
    extension = await writeBareExtension(join(folder, 'extension'));
    await build({
      configFile: false,
      logLevel: 'warn',
      build: { outDir: extension.folder, emptyOutDir: false, target: 'chrome120', rolldownOptions: { input: join(import.meta.dirname, 'contract-page.ts'), output: { format: 'iife', entryFileNames: 'page.js' } } },
    });
    await appendFile(join(extension.folder, 'page.html'), '<script src="page.js"></script>');
    context = await openBareBrowser(folder, extension, emulated.launch({ paired: [...readers.values()].map((reader) => reader.emulated.device.descriptors) }));
  });
  afterEach(async () => {
    for (const page of pages.splice(0)) await page.close();
    for (const kind of DEVICE_KINDS) await emulated.unplug(kind);
  });
  afterAll(async () => {
    await context.close();
    await emulated.close();
    await rm(folder, { recursive: true, force: true });
  });

  async function openSource(): Promise<ReaderSource> {
    const page = await context.newPage();
    pages.push(page);
    await page.goto(extension.page);
    return openPageSource(page, PACE);
  }

  /** The reader of that kind, with the contract's card lying on it anew. */
  function freshReader(kind: DeviceKind): ContractReader {
    const reader = readers.get(kind) ?? createContractReader(kind);
    reader.commands.length = 0;
    reader.emulated.field.lift();
    reader.emulated.field.put(reader.card);
    return reader;
  }

  const busOf = (kind: DeviceKind, { emulated: { device } }: ContractReader) => ({ plug: () => emulated.plug(kind, device), unplug: () => emulated.unplug(kind) });

  for (const kind of DEVICE_KINDS) {
    describeCardChannel(`${kind}, in Chromium`, async () => {
      const reader = freshReader(kind);
      return openContractRig(reader, await openSource(), busOf(kind, reader));
    });

    test(`${kind}: an answer that comes after its batch was given up is not taken for the next one's`, async () => {
      const reader = freshReader(kind);
      await expectLateAnswerUntaken(reader, await openContractRig(reader, await openSource(), busOf(kind, reader)));
    });

    test(`${kind}: a page that is closed with a card in hand leaves the reader to the next page`, async () => {
      const reader = freshReader(kind);
      await openContractRig(reader, await openSource(), busOf(kind, reader));
      await pages.pop()?.close();
      const next = await openSource();
      await untilState(next, 'present');
      const channel = await next.connect(next.readers[0]?.name ?? '', never);
      expect(await channel.transmit([echo], never)).toEqual([parseHex('2A9100')]);
    });
  }
});
