/** One turn of an operator's order: commands for the card and what to do with their answers, or the end. */
import type { cardDialog } from '#protocol/messages/card-dialog.ts';
import type { WireCommands } from '#protocol/messages/fields.ts';
import type { operatorReport } from '#protocol/messages/operator-order.ts';
import type { BodyOf } from '#protocol/signed.ts';
import type { OrderKind, VerifiedOrder } from '../shared/operator-order.ts';
import type { Opening } from './opening.ts';

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

export function isOrderOf<Kind extends OrderKind>(kind: Kind, order: VerifiedOrder<OrderKind>): order is VerifiedOrder<Kind> {
  return order.body.kind === kind;
}

/** The opening of a session, after any re-keying, as turns; then what is done with the card's authentication answer. */
export function openingTurns(opening: Opening, authenticated: (sessionId: string, responses: string[]) => Promise<Turn>): Turn {
  const { commands } = opening;
  if (opening.at === 'rekey') return { phase: 'rekey', commands, next: async (responses) => openingTurns(await opening.next(responses), authenticated) };
  return { phase: 'authenticate', commands, next: (responses) => authenticated(opening.sessionId, responses) };
}
