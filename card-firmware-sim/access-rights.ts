/** Access rights of files (AN12343 table 10): which right grants which command, and what a refusal is called. */
import { StatusError } from './status.ts';
import type { AccessRights } from './card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';

export const FREE = 0xe;
export const NEVER = 0xf;

export type Right = keyof AccessRights;

/** The rights of which one is enough. */
export const GRANTS = {
  readData: ['read', 'readWrite'],
  writeData: ['write', 'readWrite'],
  readRecords: ['read', 'readWrite'],
  writeRecord: ['write', 'readWrite'],
  updateRecord: ['readWrite'],
  clearRecords: ['write', 'readWrite'],
  getValue: ['read', 'write', 'readWrite'],
  // Read may debit: give it only to what may debit.
  debit: ['read', 'write', 'readWrite'],
  limitedCredit: ['write', 'readWrite'],
  credit: ['readWrite'],
  commitReaderId: ['readWrite'],
  changeSettings: ['change'],
} as const satisfies Record<string, readonly Right[]>;

/** By the session's key; freely, hence in plain; or refused with 9D (nobody may) or AE (somebody else may). */
export type Access = 'key' | 'free' | 'never' | 'not-authenticated';

export function accessTo(rights: AccessRights, grants: readonly Right[], sessionKeyNo: number | undefined): Access {
  const conditions = grants.map((right) => rights[right]);
  if (sessionKeyNo !== undefined && conditions.includes(sessionKeyNo)) return 'key';
  if (conditions.includes(FREE)) return 'free';
  return conditions.every((condition) => condition === NEVER) ? 'never' : 'not-authenticated';
}

export function requireGranted(access: Access): void {
  if (access === 'never') throw new StatusError('PERMISSION_DENIED');
  if (access === 'not-authenticated') throw new StatusError('AUTHENTICATION_ERROR');
}

/** Two bytes: ReadWrite and Change, then Read and Write. */
export function parseAccessRights(wire: Uint8Array): AccessRights {
  const [first = 0, second = 0] = wire;
  return { readWrite: first >> 4, change: first & 0xf, read: second >> 4, write: second & 0xf };
}

export function encodeAccessRights(rights: AccessRights): Bytes {
  return new Uint8Array([(rights.readWrite << 4) | rights.change, (rights.read << 4) | rights.write]);
}

/** True if every right names a key that the card has, FREE or NEVER. */
export function areKnownKeys(rights: AccessRights, keyCount: number): boolean {
  return Object.values(rights).every((condition: number) => condition < keyCount || condition === FREE || condition === NEVER);
}
