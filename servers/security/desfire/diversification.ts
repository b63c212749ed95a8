/** NXP AN10922 key diversification for AES-128: one key per card out of a master key. */
import { BLOCK_BYTES, AesCmac, encryptCbc, xorBytes } from './cmac.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';

export const MAX_DIVERSIFICATION_BYTES = 31;

/** `input` is 1 to 31 bytes; different inputs give unrelated keys. */
export function diversifyKey(masterKey: Bytes, input: Uint8Array): Bytes {
  if (input.length < 1 || input.length > MAX_DIVERSIFICATION_BYTES) throw new RangeError('diversification input of 1 to 31 bytes');
  const { subkey1, subkey2 } = new AesCmac(masterKey);
  const constant = concatBytes(Uint8Array.of(0x01), input);
  // AN10922, 2.2: always two blocks, even when the input fits in one; so this is not the CMAC of a short input.
  const blocks = new Uint8Array(2 * BLOCK_BYTES);
  blocks.set(constant);
  const padded = constant.length < blocks.length;
  if (padded) blocks[constant.length] = 0x80;
  const last = blocks.subarray(BLOCK_BYTES);
  last.set(xorBytes(last, padded ? subkey2 : subkey1));
  return encryptCbc(masterKey, blocks).slice(BLOCK_BYTES);
}
