/** Opens a session with a card: straight away, or after its keys have been brought up to date, which happens only while nothing is unresolved. */
import { Failure } from '#protocol/failure.ts';
import type { WireCommands } from '#protocol/messages/fields.ts';
import type { OpenedOrRekey } from '../shared/apis/security.ts';
import type { ApplicationParts } from './parts.ts';
import type { Operation } from './store.ts';

export type Opening =
  | { readonly at: 'opened'; readonly sessionId: string; readonly commands: WireCommands }
  /** Commands that give the card newer keys, and what to do with their answers. */
  | { readonly at: 'rekey'; readonly commands: WireCommands; readonly next: (responses: string[]) => Promise<Opening> };

export interface OpeningHow {
  readonly cardChallenge: string | null;
  readonly keysMayWait: boolean;
}

/** `unresolved`: as loaded before (payment-rules 4). `open`: begins the session that is wanted. */
export async function openCard({ store, security }: Pick<ApplicationParts, 'store' | 'security'>, cardId: string, unresolved: readonly Operation[], open: (how: OpeningHow) => Promise<OpenedOrRekey>): Promise<Opening> {
  const opened = await open({ cardChallenge: null, keysMayWait: unresolved.length > 0 });
  if (opened.at === 'opened') return opened;
  const { torn } = opened;
  const { sessionId, commands } = await security.openRekey({ cardId });

  const goOn = async (responses: string[], isProved: boolean): Promise<Opening> => {
    // The card has proved itself under key 0, so no SPC of an earlier session can reach it any more: what is not written now will never be.
    if (isProved && !torn && (await store.unresolvedOf(cardId)).length > 0) {
      await security.closeSession({ sessionId });
      throw new Failure('card/unresolved', { detail: 're-keying must wait' });
    }
    const turn = await security.continueRekey({ sessionId, responses });
    if (turn.at !== 'done') return { at: 'rekey', commands: turn.commands, next: (answers) => goOn(answers, turn.at === 'asking') };
    const renewed = await open({ cardChallenge: turn.cardChallenge, keysMayWait: true });
    if (renewed.at !== 'opened') throw new Failure('settlement/session', { detail: 're-keyed, and still not up to date' });
    return renewed;
  };
  return { at: 'rekey', commands, next: (responses) => goOn(responses, false) };
}
