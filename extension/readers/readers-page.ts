/** The pairing page's logic: follows readers, program and pairing, tries a reader on demand, and hands every change on as one state. */
import type { DeviceReaderKind } from '#bridge/reader-registry.ts';
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { ReaderProgram } from '../ports/reader-program.ts';
import { isProgramFailure } from '../ports/readers.ts';
import { tryCard } from './card-trial.ts';
import { examine, type ProgramState } from './page-doctor.ts';
import type { ReadersPageState, Trial } from './page-state.ts';
import { addableFamilies, readerRows } from './reader-rows.ts';
import type { PairedReader, ReadersPagePorts } from './readers-page-ports.ts';
import { reportText } from './report.ts';

export interface ReadersPage {
  readonly state: ReadersPageState;
  pair(kind: DeviceReaderKind): Promise<void>;
  forget(rowId: string): Promise<void>;
  /** Tries that reader with the card that lies on it, or the next one. */
  startTrial(rowId: string): Promise<void>;
  stopTrial(): void;
  /** Starts the reader program again if it does not run, and looks at everything anew. */
  lookAgain(): Promise<void>;
  /** Only while the page is looked at does it hold the readers: a payment window needs them as soon as it is not. */
  attend(isLookedAt: boolean): void;
  copyReport(): Promise<void>;
  copyCommand(command: string): Promise<void>;
  close(): void;
}

/** `show` is called with every new state, and once at the beginning. */
export function openReadersPage(ports: ReadersPagePorts, show: (state: ReadersPageState) => void): ReadersPage {
  const page = new Page(ports, show);
  page.begin();
  return page;
}

class Page implements ReadersPage {
  readonly #ports: ReadersPagePorts;
  readonly #show: (state: ReadersPageState) => void;
  readonly #stopPairing: () => void;
  #paired: readonly PairedReader[] = [];
  #program: ReaderProgram | undefined;
  #closed = false;
  #programState: ProgramState = { kind: 'starting' };
  #trial: Trial | null = null;
  #trialStop: AbortController | undefined;
  #refused: ReadersPageState['refused'] = null;
  #copied: ReadersPageState['copied'] = null;
  #copyRefused: ReadersPageState['copyRefused'] = null;
  state: ReadersPageState;

  constructor(ports: ReadersPagePorts, show: (state: ReadersPageState) => void) {
    this.#ports = ports;
    this.#show = show;
    this.state = this.#present();
    this.#stopPairing = ports.pairing.onChange(() => void this.#listPaired());
    // A driver that has begun has also given its reader a name.
    ports.devices?.readers.onReaders(() => void this.#listPaired());
  }

  begin(): void {
    this.#changed();
    void this.#listPaired();
    void this.#startProgram();
  }

  async pair(kind: DeviceReaderKind): Promise<void> {
    this.#refused = null;
    try {
      if ((await this.#ports.pairing.pair(kind)) === 'cancelled') return;
      await this.#listPaired();
      this.#ports.devices?.lookAgain();
    } catch (thrown) {
      this.#refused = { kind, code: codeOf(thrown) };
    } finally {
      this.#changed();
    }
  }

  async forget(rowId: string): Promise<void> {
    if (this.#trial?.rowId === rowId) this.stopTrial();
    await this.#ports.pairing.forget(rowId);
    this.#ports.devices?.lookAgain();
    await this.#listPaired();
  }

  async startTrial(rowId: string): Promise<void> {
    this.stopTrial();
    const row = this.state.rows.find(({ id }) => id === rowId);
    const source = row?.road === 'native' ? this.#program?.source : this.#ports.devices?.readers;
    if (row === undefined || row.sourceName === null || source === undefined) return;
    const stop = (this.#trialStop = new AbortController());
    const about = { rowId, readerName: row.name };
    const tell = (trial: Trial): void => {
      if (stop.signal.aborted) return;
      this.#trial = trial;
      this.#changed();
    };
    tell({ ...about, step: 'waiting' });
    try {
      const result = await tryCard({ source, readerName: row.sourceName, signal: stop.signal, now: () => this.#ports.now(), onCard: () => tell({ ...about, step: 'running' }) });
      tell({ ...about, step: 'done', result });
    } catch (thrown) {
      tell({ ...about, step: 'failed', code: codeOf(thrown) });
    }
  }

  stopTrial(): void {
    this.#trialStop?.abort(new Failure('payment/aborted'));
    this.#trial = null;
    this.#changed();
  }

  async lookAgain(): Promise<void> {
    this.#ports.devices?.lookAgain();
    await Promise.all([this.#listPaired(), this.#program === undefined ? this.#startProgram() : this.#diagnose(this.#program)]);
  }

  attend(isLookedAt: boolean): void {
    // What was found stays on the screen; only what is still waiting for a card ends.
    if (!isLookedAt && (this.#trial?.step === 'waiting' || this.#trial?.step === 'running')) this.stopTrial();
    this.#ports.devices?.readers.attend(isLookedAt);
    this.#changed();
  }

  async copyReport(): Promise<void> {
    await this.#copy('report', reportText(this.state));
  }

  async copyCommand(command: string): Promise<void> {
    await this.#copy('command', command);
  }

  close(): void {
    this.#closed = true;
    this.#stopPairing();
    this.#trialStop?.abort(new Failure('payment/aborted'));
    void this.#ports.devices?.readers.close();
    void this.#program?.source.close();
  }

  async #copy(what: NonNullable<ReadersPageState['copied']>, text: string): Promise<void> {
    [this.#copied, this.#copyRefused] = [null, null];
    try {
      await this.#ports.copy(text);
      this.#copied = what;
    } catch (thrown) {
      console.error('nothing was copied', thrown);
      this.#copyRefused = { what, text };
    }
    this.#changed();
  }

  async #listPaired(): Promise<void> {
    const paired = await this.#ports.pairing.list();
    if (this.#closed) return;
    this.#paired = paired;
    this.#changed();
  }

  async #startProgram(): Promise<void> {
    void this.#program?.source.close();
    this.#program = undefined;
    this.#programState = { kind: 'starting' };
    this.#changed();
    try {
      const program = await this.#ports.openProgram();
      if (this.#closed) {
        void program.source.close();
        return;
      }
      this.#program = program;
      this.#follow(program);
      await this.#diagnose(program);
    } catch (thrown) {
      this.#programState = { kind: 'failed', code: codeOf(thrown) };
      this.#changed();
    }
  }

  #follow(program: ReaderProgram): void {
    const { source, version, platform } = program;
    const update = (): void => {
      const problem = source.problem?.code ?? null;
      if (problem !== null && isProgramFailure(problem)) {
        this.#program = undefined;
        this.#programState = { kind: 'failed', code: problem };
      } else {
        const findings = this.#programState.kind === 'running' ? this.#programState.findings : [];
        this.#programState = { kind: 'running', version, platform, problem, findings };
      }
      this.#changed();
    };
    source.onReaders(update);
    update();
  }

  async #diagnose(program: ReaderProgram): Promise<void> {
    const findings = await program.diagnose().catch((thrown: unknown) => {
      // The program serves readers all the same: its doctor is an addition.
      console.error('the reader program has not examined itself', thrown);
      return [];
    });
    if (this.#program !== program || this.#programState.kind !== 'running') return;
    this.#programState = { ...this.#programState, findings };
    this.#changed();
  }

  #present(): ReadersPageState {
    const { environment } = this.#ports;
    const rows = readerRows({ system: environment.system, paired: this.#paired, devices: this.#ports.devices?.readers.readers ?? [], program: this.#program?.source.readers ?? [] });
    const program = this.#programState;
    return {
      environment,
      program,
      rows,
      families: addableFamilies(environment.system, environment.roads),
      findings: examine({ environment, program, rows }),
      trial: this.#trial,
      refused: this.#refused,
      copied: this.#copied,
      copyRefused: this.#copyRefused,
    };
  }

  #changed(): void {
    if (this.#closed) return;
    this.state = this.#present();
    this.#show(this.state);
  }
}

function codeOf(thrown: unknown): FailureCode {
  const failure = asFailure(thrown);
  if (failure.code === 'internal/bug') console.error(failure.cause ?? failure);
  return failure.code;
}
