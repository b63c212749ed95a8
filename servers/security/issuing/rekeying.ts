/** Re-keying a card at its contact: durably begun before its first key changes, durably finished once all are proved, held as the card's one live session between. */
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeCommands, parseResponses } from '#protocol/messages/fields.ts';
import type { SecurityService } from '../../shared/apis/security.ts';
import { CardDialog } from './card-dialog.ts';
import type { SecurityParts } from '../parts.ts';
import { rekeyCard } from './rekey.ts';

export type Rekeying = Pick<SecurityService, 'openRekey' | 'continueRekey'>;

export function createRekeying({ store, keyStore, sessions, random }: Pick<SecurityParts, 'store' | 'keyStore' | 'sessions' | 'random'>): Rekeying {
  /** What finished conversations ended with; kept no longer than their sessions. */
  const renewed = new WeakMap<CardDialog<Bytes>, string>();
  return {
    openRekey: async ({ cardId }) => {
      const issued = await store.findCard(cardId);
      if (issued === undefined) throw new Failure('card/not-issued');
      const { keyVersion: fromVersion, rekeyingTo } = issued;
      const toVersion = rekeyingTo ?? (await keyStore.currentVersion());
      if (toVersion <= fromVersion) throw new Failure('settlement/session', { detail: 'the card\'s keys are up to date' });
      const uid = parseHex(cardId);
      const recorded = (isDone: boolean): void => {
        if (!isDone) throw new Failure('settlement/session', { detail: 'the card\'s keys have changed meanwhile' });
      };
      const talk = rekeyCard({
        uid, fromVersion, toVersion, keyStore, random,
        isTorn: rekeyingTo !== null,
        // Who has read that nothing has begun must not open a session while it begins.
        begin: () => session.exclusively(async () => recorded(await store.beginRekey(cardId, toVersion))),
        finish: async () => recorded(await store.finishRekey(cardId, toVersion)),
      });
      const dialog = new CardDialog(talk);
      const session = sessions.begin(uid, { kind: 'rekey', dialog, renewedChallenge: () => renewed.get(dialog) ?? null });
      const round = await dialog.start();
      session.assertLive();
      if (!('turn' in round)) throw new Failure('internal/bug', { detail: 're-keyed without a command' });
      return { sessionId: session.id, cardId, commands: encodeCommands(round.turn.commands) };
    },

    continueRekey: async ({ sessionId, responses }) => {
      const session = sessions.get(sessionId);
      const { context } = session;
      if (context.kind !== 'rekey') throw new Failure('settlement/session', { detail: `no re-keying in a session for a ${context.kind}` });
      const round = await context.dialog.next(parseResponses(responses)).catch((thrown: unknown) => {
        sessions.forget(sessionId);
        throw thrown;
      });
      if ('turn' in round) {
        // A session that began meanwhile has ended this one: what it has not sent yet, it never sends.
        session.assertLive();
        return { at: round.turn.changes ? 'changing' : 'asking', commands: encodeCommands(round.turn.commands) };
      }
      // The session stays until the next one of this card begins, which may be with this challenge: who signed for the contact knew only its first one.
      const cardChallenge = encodeHex(round.outcome);
      renewed.set(context.dialog, cardChallenge);
      return { at: 'done', cardChallenge };
    },
  };
}
