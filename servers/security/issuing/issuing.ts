/** Issuing: carries an operator's order out on a factory card, one batch a call; which keys the card has then stays here. */
import { randomUUID } from 'node:crypto';
import { parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeCommands, parseResponses } from '#protocol/messages/fields.ts';
import type { SecurityService } from '../../shared/apis/security.ts';
import { verifyOperatorOrder } from '../../shared/operator-order.ts';
import { CardDialog, type DialogRound } from './card-dialog.ts';
import { issueCard, type IssuedCard } from './issue.ts';
import type { SecurityParts } from '../parts.ts';

/** Issuing is done by hand at a trusted place: few at a time, within minutes. */
const MAX_DIALOGS = 100;
const MAX_DIALOG_AGE_MS = 10 * 60_000;

interface HeldDialog {
  readonly dialog: CardDialog<IssuedCard>;
  readonly cardId: string;
  readonly startedAt: number;
}

export function createIssuing(parts: SecurityParts): Pick<SecurityService, 'openIssue' | 'continueIssue'> {
  const { store, keyStore, now, random } = parts;
  const dialogs = new Map<string, HeldDialog>();

  const forgetOld = (): void => {
    for (const [sessionId, { startedAt }] of dialogs) {
      if (now() - startedAt <= MAX_DIALOG_AGE_MS) break;
      dialogs.delete(sessionId);
    }
  };

  return {
    openIssue: async ({ order, operationId, timeSeconds }) => {
      const { body, digest } = await verifyOperatorOrder(['issue'], order, parts);
      forgetOld();
      if (dialogs.size >= MAX_DIALOGS) throw new Failure('settlement/busy', { detail: 'too many cards being issued' });
      if (!(await store.useOrder(digest, Math.floor(now())))) throw new Failure('operator/order-used');
      const { cardId, cardChallenge, limitMinor } = body;
      const isRecorded = (await store.findCard(cardId)) !== undefined;
      const talk = issueCard(
        { uid: parseHex(cardId), keyStore, limitMinor, operationId: parseHex(operationId), timeSeconds, isRecorded, random },
        cardChallenge === null ? null : parseHex(cardChallenge),
      );
      const dialog = new CardDialog(talk);
      const round = await dialog.start();
      const sessionId = randomUUID();
      dialogs.set(sessionId, { dialog, cardId, startedAt: now() });
      return { sessionId, cardId, commands: commandsOf(round) };
    },

    continueIssue: async ({ sessionId, responses }) => {
      forgetOld();
      const held = dialogs.get(sessionId);
      if (held === undefined) throw new Failure('settlement/session', { detail: 'no such issuing' });
      const round = await held.dialog.next(parseResponses(responses)).catch((thrown: unknown) => {
        dialogs.delete(sessionId);
        throw thrown;
      });
      if ('turn' in round) return { commands: encodeCommands(round.turn.commands) };
      dialogs.delete(sessionId);
      await store.recordIssued({ cardId: held.cardId, keyVersion: round.outcome.keyVersion, issuedAt: Math.floor(now()) });
      return { commands: null };
    },
  };
}

function commandsOf(round: DialogRound<IssuedCard>) {
  if (!('turn' in round)) throw new Failure('internal/bug', { detail: 'issued without a command' });
  return encodeCommands(round.turn.commands);
}
