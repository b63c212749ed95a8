/** The transaction MAC: session keys, TMV and enciphered reader id of one transaction, from the application's transaction-MAC key. */
import { Aes128, ZERO_BLOCK, truncateMac } from './crypto.ts';
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

interface TransactionMacKeys {
  readonly sesTmMacKey: Bytes;
  readonly sesTmEncKey: Bytes;
}

/** Keys of the transaction whose counter, once committed, is `transactionCounter`. */
export async function deriveTransactionMacKeys(appTmKey: Uint8Array, transactionCounter: number, uid: Uint8Array): Promise<TransactionMacKeys> {
  const key = new Aes128(appTmKey);
  const context = concatBytes(new Uint8Array([0x00, 0x01, 0x00, 0x80]), encodeUintLE(transactionCounter, 4), uid);
  return {
    sesTmMacKey: await key.cmac(concatBytes(new Uint8Array([0x5a]), context)),
    sesTmEncKey: await key.cmac(concatBytes(new Uint8Array([0xa5]), context)),
  };
}

/** TMV: the truncated MAC over the transaction's TMI. */
export async function computeTmv(sesTmMacKey: Uint8Array, tmi: Uint8Array): Promise<Bytes> {
  return truncateMac(await new Aes128(sesTmMacKey).cmac(tmi));
}

/** EncTMRI: the reader id of the last committed transaction, enciphered for whoever holds the transaction-MAC key. */
export function encipherReaderId(sesTmEncKey: Uint8Array, previousReaderId: Uint8Array): Promise<Bytes> {
  return new Aes128(sesTmEncKey).encryptCbc(ZERO_BLOCK, previousReaderId);
}
