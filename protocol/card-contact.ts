/** The PC's own opening towards a card, before ST8: is it a card of ours, which one, and its half of the mutual authentication. */
import { responseData, statusWord, wrapNative, type CardCommand } from './apdu.ts';
import { encodeHex, parseHex, type Bytes } from './bytes.ts';
import { Failure } from './failure.ts';
import type { Card } from './parties.ts';

/** DF name of the wallet application (AN12343: the factory name of a DESFire Light). */
const WALLET_DF_NAME = 'A00000039656434103F015400000000B';

const OK_ISO = 0x9000;
const OK = 0x9100;
const MORE = 0x91af;

/** Key 1 pays, key 3 loads, key 0 issues. */
export type KeyNumber = 0 | 1 | 3;

export interface CardContact {
  readonly card: Card;
  /** UID, 14 hex digits. */
  readonly cardId: string;
  /** E(K, RndB), 32 hex digits. */
  readonly cardChallenge: string;
}

export function selectWallet(): CardCommand {
  const name = parseHex(WALLET_DF_NAME);
  return { apdu: new Uint8Array([0x00, 0xa4, 0x04, 0x0c, name.length, ...name, 0x00]), expectedStatus: OK_ISO };
}

/** AuthenticateEV2First part 1 without capabilities: asks the card for E(K, RndB) and holds no secret. */
export function askForChallenge(keyNumber: KeyNumber): CardCommand {
  return { apdu: wrapNative(0x71, new Uint8Array([keyNumber, 0x00])), expectedStatus: MORE };
}

const GET_VERSION: readonly CardCommand[] = [
  { apdu: wrapNative(0x60), expectedStatus: MORE },
  { apdu: wrapNative(0xaf), expectedStatus: MORE },
  { apdu: wrapNative(0xaf), expectedStatus: OK },
];

/** Selects the wallet, reads the UID and asks for the challenge under `keyNumber`, in one batch. */
export async function openContact(card: Card, keyNumber: KeyNumber): Promise<CardContact> {
  const commands = [selectWallet(), ...GET_VERSION, askForChallenge(keyNumber)];
  const responses = await card.transmit('identify', commands);
  const [selected, hardware, , production, challenge] = responses;
  if (selected === undefined || statusWord(selected) !== OK_ISO) throw new Failure('card/unsupported', { detail: 'no wallet application' });
  if (hardware === undefined || production === undefined || challenge === undefined) throw new Failure('card/unsupported', { detail: 'GetVersion or AuthenticateEV2First refused' });
  return { card, cardId: uidOf(production), cardChallenge: challengeOf(challenge) };
}

/** A card that is to be issued: a factory Light with its application, or a blank EV2 or EV3 without one. */
export interface BlankContact {
  readonly cardId: string;
  /** Under key 0; null where there is no application yet. */
  readonly cardChallenge: string | null;
}

/** As `openContact` under key 0, but a card without the wallet application is no failure. */
export async function openBlankContact(card: Card): Promise<BlankContact> {
  const [selected] = await card.transmit('identify', [selectWallet()]);
  if (selected === undefined) throw new Failure('card/removed');
  if (statusWord(selected) === OK_ISO) return openContact(card, 0);
  const [, , production] = await card.transmit('identify', GET_VERSION);
  if (production === undefined) throw new Failure('card/unsupported', { detail: 'GetVersion refused' });
  return { cardId: uidOf(production), cardChallenge: null };
}

/** Frame 3 of GetVersion: UID(7) batch(5) week year. */
function uidOf(production: Bytes): string {
  const data = responseData(production);
  if (statusWord(production) !== OK || data.length < 14 || data[0] !== 0x04) throw new Failure('card/unsupported', { detail: 'no 7-byte UID' });
  return encodeHex(data.subarray(0, 7));
}

function challengeOf(response: Bytes): string {
  const data = responseData(response);
  // AD: authentication delay after failed attempts; the card is ours but not ready.
  if (statusWord(response) === 0x91ad) throw new Failure('card/refused', { detail: 'authentication delay' });
  if (statusWord(response) !== MORE || data.length !== 16) throw new Failure('card/unsupported', { detail: 'no AES challenge' });
  return encodeHex(data);
}
