/** PC/SC status codes (PC/SC part 5 and Windows' winscard.h; pcsc-lite and macOS use the same numbers) and what each means to a payment. */
import { Failure, type FailureCode } from '#protocol/failure.ts';

export const SCARD = {
  S_SUCCESS: 0,
  F_INTERNAL_ERROR: 0x80100001,
  E_CANCELLED: 0x80100002,
  E_INVALID_HANDLE: 0x80100003,
  E_INSUFFICIENT_BUFFER: 0x80100008,
  E_UNKNOWN_READER: 0x80100009,
  E_TIMEOUT: 0x8010000a,
  E_SHARING_VIOLATION: 0x8010000b,
  E_NO_SMARTCARD: 0x8010000c,
  E_PROTO_MISMATCH: 0x8010000f,
  E_NOT_READY: 0x80100010,
  E_SYSTEM_CANCELLED: 0x80100012,
  F_COMM_ERROR: 0x80100013,
  E_NOT_TRANSACTED: 0x80100016,
  E_READER_UNAVAILABLE: 0x80100017,
  F_UNKNOWN_ERROR: 0x80100014,
  E_NO_SERVICE: 0x8010001d,
  E_SERVICE_STOPPED: 0x8010001e,
  E_NO_READERS_AVAILABLE: 0x8010002e,
  E_COMM_DATA_LOST: 0x8010002f,
  W_UNSUPPORTED_CARD: 0x80100065,
  W_UNRESPONSIVE_CARD: 0x80100066,
  W_UNPOWERED_CARD: 0x80100067,
  W_RESET_CARD: 0x80100068,
  W_REMOVED_CARD: 0x80100069,
} as const;

/** SCARD_STATE_* (PC/SC part 5; winscard.h). */
export const STATE = { CHANGED: 0x2, UNKNOWN: 0x4, UNAVAILABLE: 0x8, EMPTY: 0x10, PRESENT: 0x20, EXCLUSIVE: 0x80, INUSE: 0x100, MUTE: 0x200 } as const;

const MEANINGS: ReadonlyMap<number, FailureCode> = new Map<number, FailureCode>([
  [SCARD.E_NO_SERVICE, 'reader/no-service'],
  [SCARD.E_SERVICE_STOPPED, 'reader/no-service'],
  // A service that has ended, or begun anew, knows our context no more.
  [SCARD.E_INVALID_HANDLE, 'reader/no-service'],
  [SCARD.E_NO_READERS_AVAILABLE, 'reader/none'],
  [SCARD.E_UNKNOWN_READER, 'reader/none'],
  [SCARD.E_READER_UNAVAILABLE, 'reader/none'],
  [SCARD.E_SHARING_VIOLATION, 'reader/in-use'],
  [SCARD.E_NO_SMARTCARD, 'card/absent'],
  [SCARD.E_PROTO_MISMATCH, 'card/unsupported'],
  [SCARD.W_UNSUPPORTED_CARD, 'card/unsupported'],
  [SCARD.W_UNRESPONSIVE_CARD, 'card/silent'],
  [SCARD.E_NOT_TRANSACTED, 'card/removed'],
  [SCARD.E_COMM_DATA_LOST, 'card/removed'],
  [SCARD.F_COMM_ERROR, 'card/removed'],
  [SCARD.W_UNPOWERED_CARD, 'card/removed'],
  // Nobody but us may reset a card that we hold exclusively: what answers now is another card, or the same one put back.
  [SCARD.W_RESET_CARD, 'card/removed'],
  [SCARD.W_REMOVED_CARD, 'card/removed'],
]);

/** Two codes mean something else once a connection is open: what was there is gone. */
const MEANINGS_WHILE_CONNECTED: ReadonlyMap<number, FailureCode> = new Map<number, FailureCode>([
  ...MEANINGS,
  [SCARD.E_NO_SMARTCARD, 'card/removed'],
  [SCARD.W_UNRESPONSIVE_CARD, 'card/removed'],
  [SCARD.E_READER_UNAVAILABLE, 'reader/failed'],
  [SCARD.E_UNKNOWN_READER, 'reader/failed'],
  [SCARD.E_INVALID_HANDLE, 'reader/failed'],
]);

/** A status that is not success, as the failure that it is. */
export function statusFailure(status: number, call: string, connected: boolean): Failure {
  const code = (connected ? MEANINGS_WHILE_CONNECTED : MEANINGS).get(status) ?? 'reader/failed';
  return new Failure(code, { detail: `${call}: ${statusName(status)}` });
}

export function statusName(status: number): string {
  const named = Object.entries(SCARD).find(([, value]) => value === status);
  return named === undefined ? `0x${status.toString(16)}` : `SCARD_${named[0]}`;
}
