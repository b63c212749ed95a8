/** Between the security server's sessions and what travels to the application server. */
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { encodeCommands, parseResponses, type WireCommands } from '#protocol/messages/fields.ts';
import type { CardReading, PreparedTransaction, Verdict } from '../shared/apis/security.ts';
import { WALLET_KEYS } from './layout.ts';
import type { SecurityParts, SessionContext } from './parts.ts';
import type { LiveSession } from './sessions.ts';
import type { Transfer, TransferVerdict } from './transfer.ts';
import type { Reading } from './wallet.ts';

interface OpenedSession {
  readonly sessionId: string;
  readonly cardId: string;
  readonly commands: WireCommands;
}

/** Starts a session under key 1 with the keys of the version that the card was issued with, and answers its challenge. */
export async function openSession({ store, keyStore, sessions }: SecurityParts, cardId: string, challenge: string, context: SessionContext): Promise<OpenedSession> {
  const issued = await store.findCard(cardId);
  if (issued === undefined) throw new Failure('card/not-issued');
  const uid = parseHex(cardId);
  const [authenticationKey, transactionMacKey] = await Promise.all([
    keyStore.deriveCardKey(uid, WALLET_KEYS.pay, issued.keyVersion),
    keyStore.deriveCardKey(uid, 'transaction-mac', issued.keyVersion),
  ]);
  const session = sessions.begin(uid, context);
  const command = session.authenticate(parseHex(challenge), { authenticationKey, transactionMacKey });
  return { sessionId: session.id, cardId, commands: encodeCommands([command]) };
}

export function takeAuthentication(session: LiveSession<SessionContext>, responses: string[]): void {
  session.takeAuthentication(parseResponses(responses));
}

export function readingOf(session: LiveSession<SessionContext>, reading: Reading): CardReading {
  const { operationId, amountMinor, timeSeconds } = reading.newestRecord;
  return {
    cardId: session.cardId,
    balanceMinor: reading.balanceMinor ?? null,
    newestRecord: { operationId: encodeHex(operationId), amountMinor, timeSeconds },
    transactionCounter: reading.transactionCounter,
  };
}

export function preparedOf(transfer: Transfer): PreparedTransaction {
  return {
    commands: encodeCommands(transfer.commands),
    expectedTmi: transfer.expectedTransactionMacInput,
    transactionCounter: transfer.expectedTransactionCounter === undefined ? null : transfer.expectedTransactionCounter - 1,
  };
}

export function verdictOf(verdict: TransferVerdict): Verdict {
  if (verdict.outcome === 'unproven') return { verdict: 'unproven', reason: `${verdict.reason}: ${verdict.detail}` };
  const { transactionCounter, transactionMac, balanceAfterMinor } = verdict;
  return { verdict: 'committed', transactionCounter, transactionMac: encodeHex(transactionMac), balanceAfterMinor: balanceAfterMinor ?? null };
}
