/** The payment application on a card, inside one authenticated session: a reading (BRC and BI), then at most one transfer (SPC and PCN). */
import type { CardCommand } from '#protocol/apdu.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { getValue, readNewestRecords, readTransactionMac, type TransactionProof } from './desfire/commands.ts';
import { SW } from './desfire/instructions.ts';
import { CardRefusal } from './desfire/refusal.ts';
import { commandsOf, type CardSession, type SealedCommand } from './desfire/session.ts';
import { getValueInput, readRecordsInput } from './desfire/transaction-mac.ts';
import { WALLET } from './layout.ts';
import { LOG_RECORD_BYTES, parseLogRecord, type LogRecord } from './log-record.ts';
import { prepareTransfer, type Transfer, type TransferOrder, type WalletCard } from './transfer.ts';

/** BI, authenticated by the card under this session. */
export interface Reading extends TransactionProof {
  /** Absent in a log-only reading. */
  readonly balanceMinor?: bigint;
  /** Newest first; the newest only, unless the history was asked for. */
  readonly records: readonly [LogRecord, ...LogRecord[]];
  /** Of the AppTMKey that TMC and TMV belong to. */
  readonly keyVersion: number;
}

/** Which part of the card is read. */
export type ReadingKind = 'log' | 'balance' | 'history';
/** RecCount 0 stands for all records. */
const ALL_RECORDS = 0;

interface PendingReading {
  readonly balance: SealedCommand<bigint> | undefined;
  readonly records: SealedCommand<readonly Bytes[]>;
  readonly proof: SealedCommand<TransactionProof>;
}

type Stage =
  | { readonly at: 'authenticated' }
  | { readonly at: 'reading'; readonly pending: PendingReading }
  | { readonly at: 'read'; readonly transactionMacInput: Bytes }
  | { readonly at: 'over' };

/** Each call out of its place throws `settlement/session`, and the session is over. */
export class WalletSession {
  readonly #session: CardSession;
  readonly #card: WalletCard;
  #transactionCounter: number | undefined;
  #stage: Stage = { at: 'authenticated' };

  /** `transactionCounter`: TMC as an earlier session of the same dialogue read it. */
  constructor(session: CardSession, card: WalletCard, transactionCounter?: number) {
    this.#session = session;
    this.#card = card;
    this.#transactionCounter = transactionCounter;
  }

  /** TMC before any transfer, as far as it is known. */
  get transactionCounter(): number | undefined {
    return this.#transactionCounter;
  }

  /** False once a transfer was made, an answer was not as it should be, or `end` was called. */
  get isAlive(): boolean {
    return this.#stage.at !== 'over' && this.#session.isAlive;
  }

  end(): void {
    this.#session.end();
    this.#stage = { at: 'over' };
  }

  /** BRC. `log` leaves the balance unread: no GetValue at all. */
  requestReading(kind: ReadingKind): readonly CardCommand[] {
    this.#expect('authenticated');
    const pending: PendingReading = {
      balance: kind === 'log' ? undefined : this.#session.seal(getValue(WALLET.valueFile)),
      records: this.#session.seal(readNewestRecords(WALLET.logFile, kind === 'history' ? ALL_RECORDS : 1, LOG_RECORD_BYTES)),
      proof: this.#session.seal(readTransactionMac(WALLET.transactionMacFile)),
    };
    this.#stage = { at: 'reading', pending };
    return commandsOf([...(pending.balance === undefined ? [] : [pending.balance]), pending.records, pending.proof]);
  }

  /** BI. Throws `card/not-issued` (empty log), and as `CardSession.openBatch` does; the session is then over. */
  parseReading(responses: readonly Bytes[]): Reading {
    const { pending } = this.#expect('reading');
    const { balanceMinor, records, proof } = this.#openReading(pending, responses);
    const [newest, ...older] = records;
    if (newest === undefined) throw new Failure('internal/bug', { detail: 'a reading without a record' });
    // The file of the transaction MAC itself is never part of the TMI; the records stand in it as the card answered them, oldest first.
    const transactionMacInput = concatBytes(
      balanceMinor === undefined ? new Uint8Array() : getValueInput(WALLET.valueFile, balanceMinor),
      readRecordsInput(WALLET.logFile, 0, records.length, concatBytes(...records.toReversed())),
    );
    this.#transactionCounter = proof.transactionCounter;
    this.#stage = { at: 'read', transactionMacInput };
    const { keyVersion } = this.#card;
    return { records: [parseLogRecord(newest), ...older.map(parseLogRecord)], ...proof, keyVersion, ...(balanceMinor === undefined ? {} : { balanceMinor }) };
  }

  /** SPC: at most one a session, after its reading or straight after authentication; nothing can follow it. */
  prepareTransfer(order: TransferOrder): Transfer {
    const stage = this.#expect('authenticated', 'read');
    const transactionMacInput = stage.at === 'read' ? stage.transactionMacInput : new Uint8Array();
    this.#stage = { at: 'over' };
    return prepareTransfer(this.#session, this.#card, order, { transactionMacInput, transactionCounter: this.#transactionCounter });
  }

  #openReading(pending: PendingReading, responses: readonly Bytes[]) {
    try {
      if (pending.balance === undefined) {
        const [records, proof] = this.#session.openBatch([pending.records, pending.proof], responses);
        return { balanceMinor: undefined, records, proof };
      }
      const [balanceMinor, records, proof] = this.#session.openBatch([pending.balance, pending.records, pending.proof], responses);
      if (balanceMinor < 0n) throw new Failure('card/answer', { detail: 'negative balance' });
      return { balanceMinor, records, proof };
    } catch (cause) {
      this.end();
      // An empty log is a boundary error of ReadRecords, and an issued card has at least one record.
      if (cause instanceof CardRefusal && cause.statusWord === SW.BoundaryError) throw new Failure('card/not-issued', { cause });
      throw cause;
    }
  }

  #expect<At extends Stage['at']>(...places: readonly At[]): Extract<Stage, { at: At }> {
    const stage = this.#stage;
    if (!isAt(stage, places)) {
      const detail = `wallet session is ${stage.at}, not ${places.join(' or ')}`;
      this.end();
      throw new Failure('settlement/session', { detail });
    }
    return stage;
  }
}

function isAt<At extends Stage['at']>(stage: Stage, places: readonly At[]): stage is Extract<Stage, { at: At }> {
  return (places as readonly Stage['at'][]).includes(stage.at);
}
