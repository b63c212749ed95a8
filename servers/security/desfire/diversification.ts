/** NXP AN10922 key diversification for AES-128: one key per card out of a master key. */
import { BLOCK_BYTES, AesCmac, encryptCbc, xorBytes, type Subkeys } from './cmac.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';

export const MAX_DIVERSIFICATION_BYTES = 31;

/** `input` is 1 to 31 bytes; different inputs give unrelated keys. */
export function diversifyKey(masterKey: Bytes, input: Uint8Array): Bytes {
  return keyOfDiversification(encryptCbc(masterKey, diversificationBlocks(input, new AesCmac(masterKey))));
}

/**
 * The same in two steps, for a master key that stays in a token: the 32 bytes that it enciphers, AES-128-CBC with a zero vector.
 * `subkeys` are the master key's; the result of the encryption goes to keyOfDiversification.
 */
export function diversificationBlocks(input: Uint8Array, { subkey1, subkey2 }: Subkeys): Bytes {
  if (input.length < 1 || input.length > MAX_DIVERSIFICATION_BYTES) throw new RangeError('diversification input of 1 to 31 bytes');
  const constant = concatBytes(Uint8Array.of(0x01), input);
  // AN10922, 2.2: always two blocks, even when the input fits in one; so this is not the CMAC of a short input.
  const blocks = new Uint8Array(2 * BLOCK_BYTES);
  blocks.set(constant);
  const padded = constant.length < blocks.length;
  if (padded) blocks[constant.length] = 0x80;
  const last = blocks.subarray(BLOCK_BYTES);
  last.set(xorBytes(last, padded ? subkey2 : subkey1));
  return blocks;
}

/** The card's key out of the enciphered diversificationBlocks. */
export function keyOfDiversification(enciphered: Bytes): Bytes {
  if (enciphered.length !== 2 * BLOCK_BYTES) throw new RangeError('two blocks expected');
  return enciphered.slice(BLOCK_BYTES);
}
