/** For tests only: what the model of the card keeps, with and without power; plain values, changed in place. */
import type { CardApplication, CardImage } from '../../card-image.ts';
import type { Profile } from '../../profile.ts';

/** The same value with lists of numbers for byte strings, and open to change. */
export type Plain<T> = T extends Uint8Array ? number[] : T extends readonly (infer E)[] ? Plain<E>[] : T extends object ? { -readonly [K in keyof T]: Plain<T[K]> } : T;

export type Mode = 'plain' | 'mac' | 'full';

/** What needs cryptography is asked of the test. */
export interface Oracle {
  transactionMac(key: number[], counter: number, uid: number[], input: number[]): number[];
  encipherReaderId(key: number[], counter: number, uid: number[], previous: number[]): number[];
  checksum(key: number[]): number[];
}

interface OpenTransaction {
  /** By file number. */
  values: Record<number, { value: number; debited?: number; givenBack: number; left: number }>;
  records: Record<number, { change: 'append' | 'update' | 'clear'; number: number; record: number[] }>;
  readerId?: { value: number[]; isRemembered: boolean };
  macInput: number[];
}

/** Ends a command with a status. */
export class Refusal {
  readonly status: number;

  constructor(status: number) {
    this.status = status;
  }
}

export function refuse(status: number): never {
  // eslint-disable-next-line @typescript-eslint/only-throw-error -- it never leaves the model, which catches nothing else
  throw new Refusal(status);
}

export class ModelCard {
  readonly kept: Plain<CardImage>;
  readonly profile: Profile;
  readonly oracle: Oracle;
  level: 'card' | 'application' = 'card';
  session: { readonly keyNo: number } | undefined;
  open: OpenTransaction = { values: {}, records: {}, macInput: [] };

  constructor(kept: Plain<CardImage>, profile: Profile, oracle: Oracle) {
    this.kept = kept;
    this.profile = profile;
    this.oracle = oracle;
  }

  get application(): Plain<CardApplication> {
    return this.kept.applications[0] ?? refuse(0x9d);
  }

  get macFile(): Extract<Plain<CardApplication>['files'][number], { type: 'transaction-mac' }> | undefined {
    return this.application.files.find((file) => file.type === 'transaction-mac');
  }

  /** Session and open transaction are gone. */
  end(): void {
    this.session = undefined;
    this.abort();
  }

  abort(): void {
    this.open = { values: {}, records: {}, macInput: [] };
  }

  /** Adds to the input of the transaction MAC, filled up with zeros. */
  note(...bytes: number[]): void {
    if (this.macFile === undefined) return;
    this.open.macInput.push(...bytes);
    while (this.open.macInput.length % 16 !== 0) this.open.macInput.push(0);
  }

  isCounterUsedUp(): boolean {
    return this.macFile?.counterLimit !== undefined && this.macFile.counter >= this.macFile.counterLimit;
  }
}
