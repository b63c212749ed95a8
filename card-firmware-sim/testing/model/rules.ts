/** For tests only: what all commands of the model have in common: lengths, modes, files and rights. */
import { refuse } from './card.ts';
import type { CardFile } from '../../card-image.ts';
import type { Mode, ModelCard, Plain } from './card.ts';

export interface Rule {
  readonly headerBytes: number;
  /** Least and most bytes of data; none if not given. */
  readonly dataBytes?: (header: number[]) => [number, number];
  readonly isForCardToo?: true;
  readonly travels: (card: ModelCard, header: number[]) => [Mode, Mode];
  readonly run: (card: ModelCard, header: number[], data: number[]) => Done;
}

interface Done {
  readonly status?: number;
  readonly data?: number[];
  readonly frames?: number[][];
}

export type File = Plain<CardFile>;
export type FileOf<T extends File['type']> = Extract<File, { type: T }>;
export type Right = keyof File['rights'];

export const FREE = 14;
export const NEVER = 15;
export const READ: Right[] = ['read', 'readWrite'];
export const WRITE: Right[] = ['write', 'readWrite'];
export const EITHER: Right[] = ['read', 'write', 'readWrite'];
export const FULL_ONLY: Right[] = ['readWrite'];

// Numbers on the wire: least significant byte first.
export const bytesOf = (value: number, length: number): number[] => Array.from({ length }, (_, i) => Math.floor((value < 0 ? value + 2 ** 32 : value) / 256 ** i) % 256);
export const numberOf = (bytes: number[]): number => bytes.reduce((sum, byte, i) => sum + byte * 256 ** i, 0);
export const signedOf = (bytes: number[]): number => numberOf(bytes) | 0;

export const fileOf = (card: ModelCard, number = -1): File => card.application.files.find((file) => file.number === number) ?? refuse(0xf0);

export function typed<T extends File['type']>(card: ModelCard, header: number[], type: T): FileOf<T> {
  const file = fileOf(card, header[0]);
  return file.type === type ? (file as FileOf<T>) : refuse(0x9d);
}

/** The session's key, everybody, another key, or nobody at all. */
export type Grantee = 'key' | 'all' | 'other' | 'nobody';

export function grantee(card: ModelCard, file: File, rights: Right[]): Grantee {
  const holders = rights.map((right) => file.rights[right]);
  if (card.session !== undefined && holders.includes(card.session.keyNo)) return 'key';
  if (holders.includes(FREE)) return 'all';
  return holders.every((holder) => holder === NEVER) ? 'nobody' : 'other';
}

export function ask(card: ModelCard, file: File, by: Grantee): void {
  if (by === 'nobody') refuse(0x9d);
  if (by === 'other') refuse(0xae);
  if (file.type !== 'transaction-mac' && card.isCounterUsedUp()) refuse(0x9d);
}

export function modesOfFile(file: File, by: Grantee, direction: 'in' | 'out'): [Mode, Mode] {
  if (by === 'all' || file.mode === 0) return ['plain', 'plain'];
  if (file.mode === 1) return ['mac', 'mac'];
  return direction === 'in' ? ['full', 'mac'] : ['mac', 'full'];
}

export const macBothWays = (): [Mode, Mode] => ['mac', 'mac'];
export const fullIn = (): [Mode, Mode] => ['full', 'mac'];
export const asFile = (rights: Right[], direction: 'in' | 'out') => (card: ModelCard, header: number[]): [Mode, Mode] => {
  const file = fileOf(card, header[0]);
  return modesOfFile(file, grantee(card, file, rights), direction);
};
export const exactly = (bytes: number) => (): [number, number] => [bytes, bytes];
export const asManyAs = (at: number) => (header: number[]): [number, number] => {
  const length = numberOf(header.slice(at, at + 3));
  return [length, length];
};
