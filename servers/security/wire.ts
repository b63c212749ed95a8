/** Between the security server's sessions and what travels to the application server. */
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeCommands, parseResponses } from '#protocol/messages/fields.ts';
import type { CardReading, OpenedOrRekey, PreparedTransaction, Verdict } from '../shared/apis/security.ts';
import type { KeyNumber } from './desfire/authentication.ts';
import { WALLET_KEYS } from './layout.ts';
import type { SecurityParts, SessionContext } from './parts.ts';
import type { AuthenticationKeys, LiveSession } from './sessions.ts';
import type { Transfer, TransferVerdict } from './transfer.ts';
import type { Reading } from './wallet.ts';

/** How the application server wants a session opened. */
export interface Opening {
  /** Instead of the one in the signed request: the card's challenge after a re-keying, and no other, or a request could be used at any later contact. */
  readonly cardChallenge: string | null;
  readonly keysMayWait: boolean;
}

/** Starts a session under key 1 and answers the card's challenge, unless the card's keys have to be brought up to date first. */
export async function openSession(parts: Pick<SecurityParts, 'store' | 'keyStore' | 'sessions'>, signed: { readonly cardId: string; readonly cardChallenge: string }, opening: Opening, context: SessionContext): Promise<OpenedOrRekey> {
  const { store, keyStore, sessions } = parts;
  const { cardId } = signed;
  const uid = parseHex(cardId);
  if (opening.cardChallenge !== null) requireRenewed(sessions, uid, opening.cardChallenge);
  // Begun before the card's record is read: a re-keying that begins after that read ends this session, and none is under way at this moment.
  const session = sessions.begin(uid, context);
  const opened = async (): Promise<OpenedOrRekey> => {
    const issued = await store.findCard(cardId);
    if (issued === undefined) throw new Failure('card/not-issued');
    // Of a card with keys of two versions nothing can be known before it has them all: this cannot wait.
    if (issued.rekeyingTo !== null) return { at: 'rekey-first', torn: true };
    if (!opening.keysMayWait && issued.keyVersion < (await keyStore.currentVersion())) return { at: 'rekey-first', torn: false };
    const keys = await deriveAuthenticationKeys(parts, uid, WALLET_KEYS.pay, issued.keyVersion);
    const command = session.authenticate(parseHex(opening.cardChallenge ?? signed.cardChallenge), keys);
    return { at: 'opened', sessionId: session.id, cardId, commands: encodeCommands([command]) };
  };
  const result = await opened().catch((thrown: unknown) => {
    sessions.forget(session.id);
    throw thrown;
  });
  if (result.at === 'rekey-first') sessions.forget(session.id);
  return result;
}

/** Throws `settlement/session` unless the card's one live session is a re-keying that ended with exactly this challenge. */
function requireRenewed(sessions: SecurityParts['sessions'], uid: LiveSession<unknown>['uid'], cardChallenge: string): void {
  const context = sessions.liveOf(uid)?.context;
  if (context?.kind !== 'rekey' || context.renewedChallenge() !== cardChallenge) throw new Failure('settlement/session', { detail: 'no re-keying of the card ended with this challenge' });
}

export async function deriveAuthenticationKeys({ keyStore }: Pick<SecurityParts, 'keyStore'>, uid: LiveSession<unknown>['uid'], keyNumber: KeyNumber, keyVersion: number): Promise<AuthenticationKeys> {
  const [authenticationKey, transactionMacKey] = await Promise.all([keyStore.deriveCardKey(uid, keyNumber, keyVersion), keyStore.deriveCardKey(uid, 'transaction-mac', keyVersion)]);
  return { authenticationKey, transactionMacKey, keyVersion };
}

export function takeAuthentication(session: LiveSession<SessionContext>, responses: string[]): void {
  session.takeAuthentication(parseResponses(responses));
}

export function readingOf(session: LiveSession<SessionContext>, { balanceMinor, records, transactionCounter, transactionMac, keyVersion }: Reading): CardReading {
  const [newest, ...older] = records;
  const recordOf = ({ operationId, amountMinor, timeSeconds }: typeof newest) => ({ operationId: encodeHex(operationId), amountMinor, timeSeconds });
  return {
    cardId: session.cardId,
    balanceMinor: balanceMinor ?? null,
    records: [recordOf(newest), ...older.map(recordOf)],
    transactionCounter,
    transactionMac: encodeHex(transactionMac),
    keyVersion,
  };
}

export function preparedOf(transfer: Transfer): PreparedTransaction {
  return {
    commands: encodeCommands(transfer.commands),
    expectedTmi: transfer.expectedTransactionMacInput,
    transactionCounter: transfer.expectedTransactionCounter === undefined ? null : transfer.expectedTransactionCounter - 1,
    keyVersion: transfer.keyVersion,
  };
}

export function verdictOf(verdict: TransferVerdict): Verdict {
  if (verdict.outcome === 'unproven') return { verdict: 'unproven', reason: `${verdict.reason}: ${verdict.detail}` };
  const { transactionCounter, transactionMac, balanceAfterMinor } = verdict;
  return { verdict: 'committed', transactionCounter, transactionMac: encodeHex(transactionMac), balanceAfterMinor: balanceAfterMinor ?? null };
}
