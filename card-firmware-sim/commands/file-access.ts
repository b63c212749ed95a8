/** How every file command finds its file, decides how it travels, and asks for its rights. */
import { accessTo, requireGranted } from '../access-rights.ts';
import { COMM_MODE } from '../secure-messaging.ts';
import { ENCIPHERED_REQUEST, ENCIPHERED_RESPONSE, MAC_BOTH_WAYS, PLAIN, selectedApplication } from '../command.ts';
import { findFile, transactionMacFile } from '../card-image.ts';
import { parseUintLE } from '#protocol/bytes.ts';
import { StatusError } from '../status.ts';
import type { Access, Right } from '../access-rights.ts';
import type { CardApplication, CardFile, RecordFile } from '../card-image.ts';
import type { CardState } from '../command.ts';
import type { Messaging } from '../secure-messaging.ts';

export function requireFile(state: CardState, number: number | undefined): CardFile {
  const file = number === undefined ? undefined : findFile(selectedApplication(state), number);
  if (file === undefined) throw new StatusError('FILE_NOT_FOUND');
  return file;
}

/** A file of this type; 9D for a file that cannot do what the command asks. */
export function requireFileOfType<T extends CardFile['type']>(state: CardState, number: number | undefined, type: T): Extract<CardFile, { type: T }> {
  const file = requireFile(state, number);
  if (file.type !== type) throw new StatusError('PERMISSION_DENIED');
  return file as Extract<CardFile, { type: T }>;
}

/** A record file of either kind. */
export function requireRecordFile(state: CardState, number: number | undefined): RecordFile {
  const file = requireFile(state, number);
  if (file.type !== 'linear' && file.type !== 'cyclic') throw new StatusError('PERMISSION_DENIED');
  return file;
}

export function fileAccess(state: CardState, file: CardFile, grants: readonly Right[]): Access {
  return accessTo(file.rights, grants, state.session?.keyNo);
}

/** The file's own mode; plain if the right comes from FREE alone, even inside a session (AN12343, 5.1). */
export function fileMessaging(file: CardFile, access: Access, direction: 'read' | 'write'): Messaging {
  if (access === 'free' || file.mode === COMM_MODE.PLAIN) return PLAIN;
  if (file.mode === COMM_MODE.MAC) return MAC_BOTH_WAYS;
  return direction === 'read' ? ENCIPHERED_RESPONSE : ENCIPHERED_REQUEST;
}

/** Grants a command that reads or changes data, unless the transaction counter has reached its limit. */
export function requireDataAccess(state: CardState, file: CardFile, access: Access): void {
  requireGranted(access);
  if (file.type !== 'transaction-mac' && isCounterUsedUp(selectedApplication(state))) throw new StatusError('PERMISSION_DENIED');
}

export function isCounterUsedUp(application: CardApplication): boolean {
  const macFile = transactionMacFile(application);
  return macFile !== undefined && macFile.counter >= (macFile.counterLimit ?? 0xffffffff);
}

/** Offset and length, or record number and count: two 3-byte integers after the file number. */
export function parseRange(header: Uint8Array): { readonly first: number; readonly second: number } {
  return { first: parseUintLE(header.subarray(1, 4)), second: parseUintLE(header.subarray(4, 7)) };
}
