/** Everything that the pairing page shows, as one value: how it looks is decided elsewhere. */
import type { DeviceReaderKind } from '#bridge/reader-registry.ts';
import type { FailureCode } from '#protocol/failure.ts';
import type { TrialResult } from './card-trial.ts';
import type { PageFinding, ProgramState } from './page-doctor.ts';
import type { AddableFamily, ReaderRow } from './reader-rows.ts';
import type { Environment } from './readers-page-ports.ts';

export type Trial = { readonly rowId: string; readonly readerName: string } & (
  | { readonly step: 'waiting' | 'running' }
  | { readonly step: 'done'; readonly result: TrialResult }
  | { readonly step: 'failed'; readonly code: FailureCode }
);

export interface ReadersPageState {
  readonly environment: Environment;
  readonly program: ProgramState;
  readonly rows: readonly ReaderRow[];
  readonly families: readonly AddableFamily[];
  readonly findings: readonly PageFinding[];
  readonly trial: Trial | null;
  /** The family whose pairing the browser refused. */
  readonly refused: { readonly kind: DeviceReaderKind; readonly code: FailureCode } | null;
  /** What was copied last, so that its button can say so. */
  readonly copied: 'report' | 'command' | null;
  /** What the browser did not let us copy: it is shown, for a hand to copy. */
  readonly copyRefused: { readonly what: 'report' | 'command'; readonly text: string } | null;
}
