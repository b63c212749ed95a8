/** How the wallet lies on the card: application name, files, access rights and which key does what. */
import { selectApplication } from './desfire/select.ts';
import type { CardCommand } from '#protocol/apdu.ts';
import { parseHex } from '#protocol/bytes.ts';
import { requestChallenge, type KeyNumber } from './desfire/authentication.ts';

/** Low bits of FileOption: CommMode.Full. */
export const FULL_MODE = 0x03;

export const WALLET = {
  /** The factory's DF name, which we keep. */
  applicationName: parseHex('A00000039656434103F015400000000B'),
  logFile: 0x01,
  valueFile: 0x03,
  transactionMacFile: 0x0f,
} as const;

/** Key 2 and key 4 are not used, and changed all the same. */
export const WALLET_KEYS = { master: 0, pay: 1, load: 3 } as const satisfies Record<string, KeyNumber>;

/** ReadWrite, Change, Read, Write, as on the wire. Read of the value file lets key 1 debit; credit lives on ReadWrite alone. */
export const WALLET_RIGHTS = {
  logFile: 0x3011,
  valueFile: 0x301f,
  /** ReadWrite F: no reader-id commitment, so one key commits what it wrote. */
  transactionMacFile: 0xf01f,
} as const;

/** What may stand at the front of a dialogue, by whoever sends it: no secret in it. Selecting drops any open session and transaction. */
export function openWallet(keyNumber: KeyNumber): readonly CardCommand[] {
  return [selectApplication(WALLET.applicationName), requestChallenge(keyNumber)];
}
