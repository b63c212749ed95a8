/** The few globals that browsers and Node share and protocol/ may use; its tsconfig has neither DOM nor Node types. */
/* eslint-disable no-var -- ambient globals are declared with var */

interface AbortSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  throwIfAborted(): void;
}

declare class TextEncoder {
  encode(text: string): Uint8Array<ArrayBuffer>;
}

declare class TextDecoder {
  constructor(label: 'utf-8', options: { fatal: boolean; ignoreBOM: boolean });
  decode(bytes: Uint8Array): string;
}

declare class URL {
  constructor(url: string);
  readonly origin: string;
  readonly protocol: string;
  readonly hostname: string;
}

// WebCrypto, as far as ES256 and SHA-256 need it. @types/node has no global name for these types: a file that servers
// compile too takes its key type from jose (`import type { CryptoKey } from 'jose'`), which is the same type everywhere.

interface CryptoKey {
  readonly type: 'private' | 'public' | 'secret';
  readonly extractable: boolean;
  readonly algorithm: { readonly name: string; readonly namedCurve?: string };
  readonly usages: ('decrypt' | 'deriveBits' | 'deriveKey' | 'encrypt' | 'sign' | 'unwrapKey' | 'verify' | 'wrapKey')[];
}

interface CryptoKeyPair {
  readonly privateKey: CryptoKey;
  readonly publicKey: CryptoKey;
}

/** An EC key as JSON (RFC 7518 section 6.2); `d` is the private part. */
interface JsonWebKey {
  kty?: string;
  crv?: string;
  x?: string;
  y?: string;
  d?: string;
  ext?: boolean;
  key_ops?: string[];
}

interface SubtleCrypto {
  digest(algorithm: 'SHA-256', data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
  importKey(format: 'jwk', key: JsonWebKey, algorithm: { name: 'ECDSA'; namedCurve: 'P-256' }, extractable: boolean, usages: readonly ('sign' | 'verify')[]): Promise<CryptoKey>;
  importKey(format: 'raw' | 'spki' | 'pkcs8', key: Uint8Array<ArrayBuffer>, algorithm: { name: 'ECDSA'; namedCurve: 'P-256' }, extractable: boolean, usages: readonly ('sign' | 'verify')[]): Promise<CryptoKey>;
  exportKey(format: 'jwk', key: CryptoKey): Promise<JsonWebKey>;
  exportKey(format: 'raw' | 'spki' | 'pkcs8', key: CryptoKey): Promise<ArrayBuffer>;
  generateKey(algorithm: { name: 'ECDSA'; namedCurve: 'P-256' }, extractable: boolean, usages: readonly ('sign' | 'verify')[]): Promise<CryptoKeyPair>;
  /** The general form, from which jose infers its CryptoKey. */
  generateKey(algorithm: { name: string }, extractable: boolean, usages: readonly ('sign' | 'verify')[]): Promise<CryptoKeyPair | CryptoKey>;
  sign(algorithm: { name: 'ECDSA'; hash: 'SHA-256' }, key: CryptoKey, data: Uint8Array<ArrayBuffer>): Promise<ArrayBuffer>;
  verify(algorithm: { name: 'ECDSA'; hash: 'SHA-256' }, key: CryptoKey, signature: Uint8Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>): Promise<boolean>;
}

interface Crypto {
  readonly subtle: SubtleCrypto;
  getRandomValues(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer>;
}

declare var crypto: Crypto;
