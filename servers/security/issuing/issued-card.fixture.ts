/** Keys and a way to issue the card of this folder's tests. */
import { parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { CardDialog } from './card-dialog.ts';
import type { CardKeys } from './card-state.ts';
import type { FactoryCard } from './factory-card.fixture.ts';
import { issueCard, type IssuedCard } from './issue.ts';
import { KeyStoreError, type CardKeyStore } from '../key-store/key-store.ts';
import { openWallet, parseOpening } from '../layout.ts';

export const UID = parseHex('04DE5F1EACC040');
export const keyOf = (fill: number): Bytes => new Uint8Array(16).fill(fill);
export const keys: CardKeys = { version: 1, cardKeys: { 0: keyOf(0xa0), 1: keyOf(0xa1), 2: keyOf(0xa2), 3: keyOf(0xa3), 4: keyOf(0xa4) }, transactionMacKey: keyOf(0xaf) };
const keyStore: CardKeyStore = {
  currentVersion: () => Promise.resolve(1),
  deriveCardKey: (_uid, purpose, version) => {
    if (version === 0) return Promise.resolve(new Uint8Array(16));
    if (version !== 1) return Promise.reject(new KeyStoreError('no such version'));
    return Promise.resolve(purpose === 'transaction-mac' || purpose === 'picc' ? keys.transactionMacKey : keys.cardKeys[purpose]);
  },
};
export const walletCard = { uid: UID, transactionMacKey: keys.transactionMacKey, keyVersion: 1 };
export const ISSUE_ID = parseHex('0102030405060708');
export const PAY_ID = parseHex('1112131415161718');
let fill = 0x40;
export const random = (length: number): Bytes => new Uint8Array(length).fill(fill++ & 0xff);

export const failing = (act: Promise<unknown>): Promise<string> => act.then(() => 'nothing thrown', (cause: unknown) => (cause instanceof Failure ? cause.code : String(cause)));

interface IssueAttempt {
  readonly budget?: number;
  readonly uid?: Bytes;
  readonly operationId?: Bytes;
  readonly limitMinor?: bigint;
  readonly isRecorded?: boolean;
}

export const issuing = (challenge: Bytes, { uid = UID, operationId = ISSUE_ID, limitMinor = 100_000n, isRecorded = false }: IssueAttempt = {}) =>
  new CardDialog(issueCard({ uid, keyStore, limitMinor, operationId, timeSeconds: 1_800_000_000, isRecorded, random }, challenge));

/** Runs issuing with at most `budget` commands reaching the card. */
export async function issue(card: FactoryCard, { budget = Infinity, ...attempt }: IssueAttempt = {}): Promise<IssuedCard> {
  const send = (commands: Parameters<FactoryCard['transmit']>[0]): Bytes[] => {
    const responses = card.transmit(commands, budget);
    budget -= responses.length;
    if (budget <= 0) card.remove();
    return responses;
  };
  const dialog = issuing(parseOpening(send(openWallet(0))), attempt);
  let round = await dialog.start();
  while ('turn' in round) round = await dialog.next(send(round.turn.commands));
  return round.outcome;
}
