/** All readers of this browser as one list: those that it drives by itself (WebUSB, WebHID) and those of the reader program (PC/SC); each road may be missing. */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';
import { createAttendedReaders, type AttendedReaders } from './attended-readers.ts';

/** Starts the reader program; fails with `host/…`, `connector/…`, `reader/…`. */
export type OpenProgram = () => Promise<ReaderSource>;

export interface Readers {
  readonly list: readonly ReaderInfo[];
  /** Why there is no reader at all; null while one is there. */
  readonly problem: FailureCode | null;
  /** The reader program is being started, and no other road has a reader. */
  readonly starting: boolean;
  /** Called after each change of the above. */
  onChange: () => void;
  /** Opens the card on that reader; fails as ReaderSource.connect does. `source` tells when the card goes. */
  connect(readerName: string, signal: AbortSignal): Promise<{ readonly channel: CardChannel; readonly source: ReaderSource }>;
  /** Whether the readers that the browser drives are to be held: while they are, no other page or program has them. They are from the beginning. */
  attend(isAttended: boolean): void;
  /** Starts the program again if it does not run. */
  retry(): void;
  close(): void;
}

/**
 * Starts at once: the program needs time that the customer spends reading. `openDevices`: undefined where the browser has neither WebUSB nor WebHID.
 * `isAnyPaired`: whether a reader was paired with this browser, wherever it is now.
 */
export function createReaders(openProgram: OpenProgram, openDevices: (() => ReaderSource) | undefined, isAnyPaired: () => Promise<boolean> = () => Promise.resolve(false)): Readers {
  const readers = new AllReaders(openProgram, openDevices === undefined ? undefined : createAttendedReaders(openDevices));
  readers.attend(true);
  readers.retry();
  void isAnyPaired().then((isPaired) => isPaired && readers.expectDevice());
  return readers;
}

/** Whether the reader program itself has ended, or never began: its source is over, and only another start helps. */
export function isProgramFailure(code: FailureCode): boolean {
  return code.startsWith('host/') || code.startsWith('connector/');
}

const MISSING: readonly FailureCode[] = ['host/missing', 'connector/missing'];

interface Place {
  readonly info: ReaderInfo;
  readonly source: ReaderSource;
  /** What the source calls it. */
  readonly nameAtSource: string;
}

class AllReaders implements Readers {
  readonly #openProgram: OpenProgram;
  readonly #devices: AttendedReaders | undefined;
  /** While it runs. */
  #program: ReaderSource | undefined;
  /** Why it does not run, whatever else there is. */
  #programProblem: FailureCode | null = null;
  #programStarting = false;
  /** A reader was paired, or has been here: who pays with it needs no program. */
  #expectsDevice = false;
  #closed = false;
  onChange: () => void = () => undefined;

  constructor(openProgram: OpenProgram, devices: AttendedReaders | undefined) {
    this.#openProgram = openProgram;
    this.#devices = devices;
    devices?.onReaders((list) => (list.length > 0 ? this.expectDevice() : this.onChange()));
  }

  get list(): readonly ReaderInfo[] {
    return this.#places().map(({ info }) => info);
  }

  get problem(): FailureCode | null {
    if (this.#places().length > 0 || this.#programStarting) return null;
    const code = this.#programProblem ?? this.#program?.problem?.code ?? 'reader/none';
    return this.#expectsDevice && MISSING.includes(code) ? 'reader/none' : code;
  }

  get starting(): boolean {
    return this.#programStarting && this.#places().length === 0;
  }

  async connect(readerName: string, signal: AbortSignal): Promise<{ channel: CardChannel; source: ReaderSource }> {
    const place = this.#places().find(({ info }) => info.name === readerName);
    if (place === undefined) throw new Failure('reader/none');
    const { source, nameAtSource } = place;
    try {
      return { channel: await source.connect(nameAtSource, signal), source };
    } catch (thrown) {
      const failure = asFailure(thrown);
      // A program that answers nonsense is not asked again until somebody says so.
      if (source === this.#program && isProgramFailure(failure.code)) this.#programEnded(failure.code);
      throw failure;
    }
  }

  attend(isAttended: boolean): void {
    this.#devices?.attend(isAttended);
  }

  /** Without readers, it is they that are missing, and not the program. */
  expectDevice(): void {
    this.#expectsDevice = true;
    this.onChange();
  }

  retry(): void {
    if (this.#programStarting || this.#program !== undefined || this.#closed) return;
    this.#programStarting = true;
    this.#programProblem = null;
    this.#openProgram().then(
      (program) => this.#programStarted(program),
      (thrown: unknown) => this.#programEnded(asFailure(thrown).code),
    );
  }

  close(): void {
    this.#closed = true;
    this.onChange = () => undefined;
    void this.#program?.close();
    void this.#devices?.close();
  }

  #programStarted(program: ReaderSource): void {
    this.#programStarting = false;
    if (this.#closed) {
      void program.close();
      return;
    }
    this.#program = program;
    const follow = (): void => {
      const code = program.problem?.code;
      if (code !== undefined && isProgramFailure(code)) this.#programEnded(code);
      else this.onChange();
    };
    program.onReaders(follow);
    follow();
  }

  #programEnded(code: FailureCode): void {
    this.#programStarting = false;
    void this.#program?.close();
    this.#program = undefined;
    this.#programProblem = code;
    this.onChange();
  }

  /** A reader that the browser drives comes first: it was paired by hand. The same name at the program gets a tail. */
  #places(): Place[] {
    const places: Place[] = [];
    for (const source of [this.#devices, this.#program]) {
      for (const info of source?.readers ?? []) {
        const isTaken = places.some((place) => place.info.name === info.name);
        if (source !== undefined) places.push({ info: isTaken ? { ...info, name: `${info.name} (PC/SC)` } : info, source, nameAtSource: info.name });
      }
    }
    return places;
  }
}
