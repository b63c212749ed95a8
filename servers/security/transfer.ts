/** One atomic change of a card, made ahead as a batch (the SPC), and the judgement of its answers (the PCN): proved, or not proved, and never "failed". */
import { timingSafeEqual } from 'node:crypto';
import type { CardCommand } from '#protocol/apdu.ts';
import { concatBytes, encodeHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { commitTransaction, credit, debit, getValue, writeRecord, type TransactionProof } from './desfire/commands.ts';
import { CardRefusal } from './desfire/refusal.ts';
import { commandsOf, type CardSession, type SealedCommand } from './desfire/session.ts';
import { computeTransactionMac, creditInput, debitInput, MAX_TRANSACTION_COUNTER, writeRecordInput } from './desfire/transaction-mac.ts';
import { WALLET } from './layout.ts';
import { encodeLogRecord, type LogRecord } from './log-record.ts';

/** Whose card it is: what its transaction MACs are computed from. */
export interface WalletCard {
  readonly uid: Bytes;
  /** AppTMKey of this card, and its version. */
  readonly transactionMacKey: Bytes;
  readonly keyVersion: number;
}

/** `record` only writes the log, as issuing does. */
export interface TransferOrder extends LogRecord {
  readonly kind: 'debit' | 'credit' | 'record';
  /** Ask for the balance after the commit; its answer proves nothing and may be missing. */
  readonly readBalanceAfter: boolean;
}

/** The transaction as it stands on the card before the order. */
export interface OpenTransaction {
  /** TMI so far: the reads of this session since its authentication. */
  readonly transactionMacInput: Bytes;
  /** TMC as read before; unknown when nothing was read. */
  readonly transactionCounter?: number | undefined;
}

export type UnprovenReason =
  /** The commit's answer is not there: the batch stopped before it, or the answer was lost. */
  | 'no-commit-answer'
  /** In the commit's place stands an error status (which anyone may have forged). */
  | 'error-status'
  /** The commit's answer was not made by this card for this place in this session. */
  | 'not-authentic'
  /** Authentic, but the card committed something else than we ordered. */
  | 'transaction-mac'
  /** Authentic, but not the next transaction after the reading. */
  | 'transaction-counter'
  /** Nothing is kept of this session any more. */
  | 'session-forgotten';

export type TransferVerdict =
  | { readonly outcome: 'committed'; readonly transactionCounter: number; readonly transactionMac: Bytes; readonly balanceAfterMinor?: bigint }
  | { readonly outcome: 'unproven'; readonly reason: UnprovenReason; readonly detail: string };

/** A batch that has been made, once, and everything that it takes to judge its answers later, even after its session. */
export interface Transfer {
  /** SPC: WriteRecord, then Debit or Credit, CommitTransaction, and GetValue if asked for. */
  readonly commands: readonly CardCommand[];
  readonly order: TransferOrder;
  /** Of the AppTMKey that will prove it. */
  readonly keyVersion: number;
  /** Whole TMI of the transaction, upper-case hex, reads of this session included. */
  readonly expectedTransactionMacInput: string;
  /** TMC after the commit, when the TMC before is known. */
  readonly expectedTransactionCounter?: number;
  /** Judges the PCN. Never throws for anything that a relay can send; may be called again. */
  verify(responses: readonly Bytes[]): TransferVerdict;
}

/** Ends the session: after this batch nothing more may be made in it. Throws RangeError for an amount outside 1 to 2^31 - 1. */
export function prepareTransfer(session: CardSession, card: WalletCard, order: TransferOrder, before: OpenTransaction): Transfer {
  if (order.kind !== 'record' && (order.amountMinor < 1n || order.amountMinor > 0x7fffffffn)) throw new RangeError('amount of a transfer out of range');
  if (before.transactionCounter === MAX_TRANSACTION_COUNTER) throw new Failure('card/refused', { detail: 'transaction counter exhausted' });
  const record = encodeLogRecord(order);
  const change = changeOfValue(order);
  const opening = [session.seal(writeRecord(WALLET.logFile, 0, record)), ...(change === undefined ? [] : [session.seal(change.command)])];
  const commit = session.seal(commitTransaction());
  const balanceAfter = order.readBalanceAfter ? session.seal(getValue(WALLET.valueFile)) : undefined;
  session.end();

  const transactionMacInput = concatBytes(before.transactionMacInput, writeRecordInput(WALLET.logFile, 0, record), change?.input ?? new Uint8Array());
  const expectedCounter = before.transactionCounter === undefined ? undefined : before.transactionCounter + 1;
  return {
    commands: commandsOf([...opening, commit, ...(balanceAfter === undefined ? [] : [balanceAfter])]),
    order,
    keyVersion: card.keyVersion,
    expectedTransactionMacInput: encodeHex(transactionMacInput),
    ...(expectedCounter === undefined ? {} : { expectedTransactionCounter: expectedCounter }),
    verify(responses) {
      const proof = openCommit(commit, responses[opening.length]);
      if ('outcome' in proof) return proof;
      // The counter is the card's word, but under the session's MAC; the TMV then says what was committed at that count.
      const expectedMac = computeTransactionMac({ ...card, transactionCounter: proof.transactionCounter, transactionMacInput });
      if (!timingSafeEqual(expectedMac, proof.transactionMac)) return unproven('transaction-mac', `at TMC ${proof.transactionCounter}`);
      if (expectedCounter !== undefined && proof.transactionCounter !== expectedCounter) {
        return unproven('transaction-counter', `TMC ${proof.transactionCounter}, expected ${expectedCounter}`);
      }
      const balanceAfterMinor = balanceAfter === undefined ? undefined : openBalance(balanceAfter, responses[opening.length + 1]);
      return { outcome: 'committed', ...proof, ...(balanceAfterMinor === undefined ? {} : { balanceAfterMinor }) };
    },
  };
}

function changeOfValue({ kind, amountMinor }: TransferOrder) {
  switch (kind) {
    case 'debit':
      return { command: debit(WALLET.valueFile, amountMinor), input: debitInput(WALLET.valueFile, amountMinor) };
    case 'credit':
      return { command: credit(WALLET.valueFile, amountMinor), input: creditInput(WALLET.valueFile, amountMinor) };
    case 'record':
      return undefined;
  }
}

/** Only the commit's own answer counts: what a relay did to the answers before it changes nothing that was committed. */
function openCommit(commit: SealedCommand<TransactionProof>, response: Bytes | undefined): TransactionProof | TransferVerdict {
  if (response === undefined) return unproven('no-commit-answer', 'the answers end before the commit');
  try {
    return commit.open(response);
  } catch (cause) {
    if (cause instanceof CardRefusal) return unproven('error-status', cause.message);
    if (cause instanceof Failure) return unproven('not-authentic', cause.message);
    throw cause;
  }
}

function openBalance(sealed: SealedCommand<bigint>, response: Bytes | undefined): bigint | undefined {
  if (response === undefined) return undefined;
  try {
    return sealed.open(response);
  } catch (cause) {
    // The commit is proved already; a lost or spoilt balance after it takes nothing away.
    if (cause instanceof Failure) return undefined;
    throw cause;
  }
}

export function unproven(reason: UnprovenReason, detail: string): TransferVerdict {
  return { outcome: 'unproven', reason, detail };
}

/** True if `transactionMac` is this card's MAC over exactly this transaction at this count: evidence that needs no session. */
export function isTransactionMac(card: Omit<WalletCard, 'keyVersion'>, transactionMacInput: Bytes, proof: TransactionProof): boolean {
  const expected = computeTransactionMac({ ...card, transactionCounter: proof.transactionCounter, transactionMacInput });
  return proof.transactionMac.length === expected.length && timingSafeEqual(expected, proof.transactionMac);
}
