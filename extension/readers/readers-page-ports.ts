/** What the pairing page needs from the browser: plain shapes, so that its logic is tested without one. */
import type { DeviceReaderKind } from '#bridge/reader-registry.ts';
import type { AttendedReaders } from '../ports/attended-readers.ts';
import type { ReaderProgram } from '../ports/reader-program.ts';
import type { System } from '../ports/system.ts';

export type DeviceRoad = 'webusb' | 'webhid';

export interface Environment {
  readonly system: System;
  /** Name and version, for the report. */
  readonly browser: string;
  /** Whether this browser has the road at all: Firefox and Safari have neither. */
  readonly roads: Readonly<Record<DeviceRoad, boolean>>;
  /** The extension's; the reader program must have the same. */
  readonly version: string;
}

/** A reader that this browser was once allowed to use. */
export interface PairedReader {
  /** The same for the same reader as long as the page lives. */
  readonly id: string;
  readonly kind: DeviceReaderKind;
  /** What a person calls it. */
  readonly name: string;
  /** The name under which its driver reports cards; undefined while it is away. */
  readonly driverName: string | undefined;
  readonly isConnected: boolean;
  /** Whether the browser keeps the permission when the reader is unplugged (it does where there is a serial number); undefined: it does not say. */
  readonly isKept: boolean | undefined;
}

export interface Pairing {
  list(): Promise<readonly PairedReader[]>;
  /** Shows the browser's own chooser with the readers of one family; needs the customer's click. Fails with `reader/permission`. */
  pair(kind: DeviceReaderKind): Promise<'paired' | 'cancelled'>;
  /** Gives the permission back, or takes a reader that is away from the list. */
  forget(id: string): Promise<void>;
  /** Calls back when a paired reader was plugged in or out. Returns the way to stop. */
  onChange(callback: () => void): () => void;
}

export interface ReadersPagePorts {
  readonly environment: Environment;
  readonly pairing: Pairing;
  /** Starts the reader program; fails with `host/…`, `connector/…`. */
  openProgram(): Promise<ReaderProgram>;
  /** The paired readers, driven by this page; attended to while it is looked at, since the readers are then this page's alone. Null: no road. */
  readonly devices: {
    readonly readers: AttendedReaders;
    /** A reader was paired or forgotten: what is open looks for its readers anew. */
    lookAgain(): void;
  } | null;
  /** Puts text into the clipboard. */
  copy(text: string): Promise<void>;
  /** Milliseconds, for measuring. */
  now(): number;
}
