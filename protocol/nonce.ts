/** Fresh random values; the source is injected so that simulations replay. */
import { encodeBase64url, type Bytes } from './bytes.ts';

export type RandomBytes = (length: number) => Bytes;

/** The platform's cryptographic generator. */
export const platformRandom: RandomBytes = (length) => {
  const bytes = new Uint8Array(length);
  crypto.getRandomValues(bytes);
  return bytes;
};

/** 16 random bytes, base64url: the freshness of one exchange. */
export function randomNonce(random: RandomBytes): string {
  return encodeBase64url(random(16));
}
