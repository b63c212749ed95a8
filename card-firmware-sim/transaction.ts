/** The open transaction: what commands have changed so far in the shadow, and the input of its transaction MAC (TMI). */
import { BLOCK_BYTES } from './crypto.ts';
import { StatusError } from './status.ts';
import { transactionMacFile, usableRecords, withFile } from './card-image.ts';
import { computeTmv, deriveSesTmMacKey } from './transaction-mac.ts';
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication, CardFile, RecordFile, TransactionMacFile, ValueFile } from './card-image.ts';

/** Changes to one value file. */
export interface ValueChange {
  readonly value: number;
  /** Sum of the debits; undefined if there was none. */
  readonly debited: number | undefined;
  readonly credited: boolean;
  readonly limitedCredited: number;
  /** What LimitedCredit may give back after this transaction, if it debits nothing. */
  readonly limitedCreditLeft: number;
}

/** The change to one record file: it has a single spare slot, so a transaction changes it in one way and at one place. */
export type RecordChange = { readonly kind: 'append'; readonly record: Bytes } | { readonly kind: 'update'; readonly recordNumber: number; readonly record: Bytes } | { readonly kind: 'clear' };

interface CommittedReaderId {
  readonly readerId: Bytes;
  /** Only a reader id that was committed under a session is remembered for the next transaction. */
  readonly authenticated: boolean;
}

/** A TMI grows with every read; nobody who means to commit comes near this. */
const MAX_TMI_BYTES = 1 << 20;

export class Transaction {
  readonly values = new Map<number, ValueChange>();
  /** The content of each backup file as the transaction leaves it. */
  readonly contents = new Map<number, Bytes>();
  readonly records = new Map<number, RecordChange>();
  readerId: CommittedReaderId | undefined;
  readonly #tmi: Bytes[] = [];
  #tmiBytes = 0;

  get isEmpty(): boolean {
    return this.values.size === 0 && this.contents.size === 0 && this.records.size === 0 && this.#tmiBytes === 0;
  }

  get tmi(): Bytes {
    return concatBytes(...this.#tmi);
  }

  get contains(): { readonly debit: boolean; readonly credit: boolean; readonly record: boolean } {
    const changes = [...this.values.values()];
    return {
      debit: changes.some((change) => change.debited !== undefined),
      credit: changes.some((change) => change.credited || change.limitedCredited > 0),
      record: [...this.records.values()].some(({ kind }) => kind === 'append'),
    };
  }

  /** Adds one command to the TMI if the application has a transaction-MAC file; each part is filled with zeros to whole blocks. */
  appendToTmi(application: CardApplication, ...parts: readonly Uint8Array[]): void {
    if (transactionMacFile(application) === undefined) return;
    for (const part of parts) {
      const padded = new Uint8Array(Math.ceil(part.length / BLOCK_BYTES) * BLOCK_BYTES);
      padded.set(part);
      this.#tmiBytes += padded.length;
      if (this.#tmiBytes > MAX_TMI_BYTES) throw new StatusError('MEMORY_ERROR');
      this.#tmi.push(padded);
    }
  }
}

/** The application after the transaction: contents, values, records, reader id, TMC and TMV together. */
export async function applyTransaction(application: CardApplication, uid: Bytes, transaction: Transaction): Promise<CardApplication> {
  const next = { ...application, files: application.files.map((file) => applyToFile(file, transaction)) };
  const macFile = transactionMacFile(application);
  return macFile === undefined ? next : withFile(next, await applyToTransactionMac(uid, macFile, transaction));
}

async function applyToTransactionMac(uid: Bytes, file: TransactionMacFile, transaction: Transaction): Promise<TransactionMacFile> {
  const counter = file.counter + 1;
  const tmv = await computeTmv(await deriveSesTmMacKey(file.appTmKey, counter, uid), transaction.tmi);
  const readerId = transaction.readerId?.authenticated === true ? transaction.readerId.readerId : file.readerId;
  return { ...file, counter, tmv, readerId };
}

function applyToFile(file: CardFile, transaction: Transaction): CardFile {
  const change = transaction.values.get(file.number);
  if (file.type === 'value' && change !== undefined) return applyValue(file, change);
  const content = transaction.contents.get(file.number);
  if (file.type === 'backup' && content !== undefined) return { ...file, content };
  const records = transaction.records.get(file.number);
  if ((file.type === 'cyclic' || file.type === 'linear') && records !== undefined) return applyRecords(file, records);
  return file;
}

function applyValue(file: ValueFile, change: ValueChange): ValueFile {
  return { ...file, value: change.value, limitedCredit: change.debited ?? change.limitedCreditLeft };
}

function applyRecords(file: RecordFile, change: RecordChange): RecordFile {
  switch (change.kind) {
    case 'append':
      return { ...file, records: [change.record, ...file.records].slice(0, usableRecords(file)) };
    case 'update':
      return { ...file, records: file.records.map((record, index) => (index === change.recordNumber ? change.record : record)) };
    case 'clear':
      return { ...file, records: [] };
  }
}
