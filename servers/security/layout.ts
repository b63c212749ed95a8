/** How the wallet lies on the card: application name, files, access rights and which key does what. */
import { statusWord, type CardCommand } from '#protocol/apdu.ts';
import { parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { parseChallenge, requestChallenge, type KeyNumber } from './desfire/authentication.ts';
import { SW } from './desfire/instructions.ts';
import { CardRefusal } from './desfire/refusal.ts';
import { selectApplication } from './desfire/select.ts';

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

/** The card's challenge out of the answers to `openWallet`. Throws `card/removed` (answers missing), CardRefusal, `card/answer`, `message/malformed`. */
export function parseOpening(responses: readonly Bytes[]): Bytes {
  const [selected, challenge, ...more] = responses;
  if (selected === undefined) throw new Failure('card/removed', { detail: 'no answer to the selection' });
  if (selected.length < 2) throw new Failure('card/answer', { detail: 'no status word' });
  const status = statusWord(selected);
  if (status !== SW.IsoOk) throw new CardRefusal(status, 'card/unsupported');
  if (challenge === undefined) throw new Failure('card/removed', { detail: 'no challenge' });
  if (more.length > 0) throw new Failure('message/malformed', { detail: 'more answers than commands' });
  return parseChallenge(challenge);
}

/** The one answer of a batch of one command. Throws `card/removed`, `message/malformed`. */
export function onlyAnswer(responses: readonly Bytes[]): Bytes {
  const [answer, ...more] = responses;
  if (answer === undefined) throw new Failure('card/removed', { detail: 'no answer' });
  if (more.length > 0) throw new Failure('message/malformed', { detail: 'more answers than commands' });
  return answer;
}
