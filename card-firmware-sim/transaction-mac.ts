/** The transaction MAC: session keys, TMV and enciphered reader id of one transaction, from the application's transaction-MAC key. */
import { Aes128, ZERO_BLOCK, truncateMac } from './crypto.ts';
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** SesTMMACKey of the transaction whose counter, once committed, is `transactionCounter`. */
export function deriveSesTmMacKey(appTmKey: Uint8Array, transactionCounter: number, uid: Uint8Array): Promise<Bytes> {
  return deriveKey(0x5a, appTmKey, transactionCounter, uid);
}

/** SesTMENCKey of the same transaction. */
export function deriveSesTmEncKey(appTmKey: Uint8Array, transactionCounter: number, uid: Uint8Array): Promise<Bytes> {
  return deriveKey(0xa5, appTmKey, transactionCounter, uid);
}

function deriveKey(label: number, appTmKey: Uint8Array, transactionCounter: number, uid: Uint8Array): Promise<Bytes> {
  return new Aes128(appTmKey).cmac(concatBytes(new Uint8Array([label, 0x00, 0x01, 0x00, 0x80]), encodeUintLE(transactionCounter, 4), uid));
}

/** TMV: the truncated MAC over the transaction's TMI. */
export async function computeTmv(sesTmMacKey: Uint8Array, tmi: Uint8Array): Promise<Bytes> {
  return truncateMac(await new Aes128(sesTmMacKey).cmac(tmi));
}

/** EncTMRI: the reader id of the last committed transaction, enciphered for whoever holds the transaction-MAC key. */
export function encipherReaderId(sesTmEncKey: Uint8Array, previousReaderId: Uint8Array): Promise<Bytes> {
  return new Aes128(sesTmEncKey).encryptCbc(ZERO_BLOCK, previousReaderId);
}
