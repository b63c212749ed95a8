/** One turn of an operator's order: commands for the card and what to do with their answers, or the end. */
import type { cardDialog } from '#protocol/messages/card-dialog.ts';
import type { WireCommands } from '#protocol/messages/fields.ts';
import type { operatorReport } from '#protocol/messages/operator-order.ts';
import type { BodyOf } from '#protocol/signed.ts';

type DialogPhase = BodyOf<typeof cardDialog>['phase'];
type ReportBody = BodyOf<typeof operatorReport> extends infer Report ? (Report extends unknown ? Omit<Report, 'previous' | 'paymentId'> : never) : never;

/** What comes next in the card's dialog: commands and what to do with their answers, or the end. */
export type Turn =
  | { readonly phase: DialogPhase; readonly commands: WireCommands; readonly next: (responses: string[]) => Promise<Turn> }
  | { readonly report: ReportBody };

/** An order under way: its number, and its first turn. */
export interface Begun {
  readonly paymentId: string;
  readonly first: Turn;
}
