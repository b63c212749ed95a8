/** The reader of a stage: a PC/SC reader, the native host's simulated one, or an emulated USB reader that the browser drives by itself. */
import { join } from 'node:path';
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import { createSimBackend } from '#bridge/host/sim/backend.ts';
import type { ReaderBackend } from '#bridge/host/backend.ts';
import { createEmulatedReader, DEVICE_KINDS, type DeviceKind, type EmulatedReader } from '#card-firmware-sim/usb/device-kinds.ts';
import type { BrowserOptions } from './browser.ts';
import { fieldOf, slotOf, type CardPlace } from './card-place.ts';
import { openEmulatedReaders, type EmulatedReaders } from './emulated-readers.ts';
import { startVirtualReader, type VirtualReader } from './virtual-reader.ts';

export type StageReaderKind = 'pcsc' | 'sim' | DeviceKind;
export const STAGE_READER_KINDS: readonly StageReaderKind[] = ['pcsc', 'sim', ...DEVICE_KINDS];

export interface StageReader {
  /** Where the customer's card lies. */
  readonly place: CardPlace;
  /** Where a card lies for the operator: the same, or, since an operator's tool drives no USB readers, the host's simulated reader. */
  readonly deskPlace: CardPlace;
  /** The `vpcd` port of the operator's place. */
  readonly deskPort: number;
  /** How the operator's tool reaches the card on its place. */
  openDesk(): ReaderBackend;
  /** What a PC/SC client of this reader needs in its environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** For a browser that is to use this reader; without the native host where the browser drives the reader by itself. */
  readonly browserOptions: Pick<BrowserOptions, 'reader' | 'environment'> & Partial<Pick<BrowserOptions, 'hostBundle' | 'launch'>>;
  readonly virtualReader: VirtualReader | null;
  readonly usb: StageUsb | null;
  close(): Promise<void>;
}

export interface StageUsb {
  readonly bus: EmulatedReaders;
  readonly reader: EmulatedReader;
  /** Plugs the reader in, and out; it is plugged in already when the stage opens. */
  plug(): Promise<void>;
  unplug(): Promise<void>;
}

const SOCKET = 'reader';

/** `simPort`: where the native host's simulated reader listens in this world. */
export async function openStageReader(kind: StageReaderKind, folder: string, simPort: number): Promise<StageReader> {
  if (kind === 'pcsc') return openPcscReader(folder);
  const simulated = { place: slotOf(simPort), deskPort: simPort, openDesk: () => createSimBackend(simPort), environment: {}, virtualReader: null };
  const reader = { kind: 'sim', port: simPort } as const;
  if (kind === 'sim') return { ...simulated, deskPlace: simulated.place, browserOptions: { reader, environment: {} }, usb: null, close: () => Promise.resolve() };
  const usb = await openUsb(kind, folder);
  return {
    ...simulated,
    place: fieldOf(usb.reader.field),
    deskPlace: simulated.place,
    browserOptions: { reader, environment: {}, hostBundle: null, launch: usb.bus.launch({ paired: [usb.reader.device.descriptors] }) },
    usb,
    close: () => usb.bus.close(),
  };
}

async function openPcscReader(folder: string): Promise<StageReader> {
  const virtualReader = await startVirtualReader({ folder: join(folder, 'reader') });
  const { environment, vpcdPorts: [port = 0] } = virtualReader;
  const place = slotOf(port);
  const openDesk = (): ReaderBackend => {
    Object.assign(process.env, environment); // libpcsclite reads it when it connects
    return createPcscBackend();
  };
  return { place, deskPlace: place, deskPort: port, openDesk, environment, browserOptions: { reader: { kind: 'pcsc' }, environment }, virtualReader, usb: null, close: () => virtualReader.stop() };
}

async function openUsb(kind: DeviceKind, folder: string): Promise<StageUsb> {
  const bus = await openEmulatedReaders({ folder: join(folder, 'usb') });
  const reader = createEmulatedReader(kind);
  const usb: StageUsb = { bus, reader, plug: () => bus.plug(SOCKET, reader.device), unplug: () => bus.unplug(SOCKET) };
  await usb.plug();
  return usb;
}
