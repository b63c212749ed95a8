/** PEM (RFC 7468): DER between BEGIN and END lines; the strict form that we write is the only one that is read back. */
import { type Bytes, encodeBase64url, parseBase64url } from './bytes.ts';

/** The labels that we store. */
export type PemLabel = 'CERTIFICATE' | 'PRIVATE KEY' | 'CERTIFICATE REQUEST';

const LINE = 64;
const BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----\r?\n([A-Za-z0-9+/=\r\n]*?)-----END \1-----/g;

export function encodePem(label: PemLabel, der: Uint8Array): string {
  const unpadded = encodeBase64url(der).replaceAll('-', '+').replaceAll('_', '/');
  const base64 = unpadded.padEnd(Math.ceil(unpadded.length / 4) * 4, '=');
  return `-----BEGIN ${label}-----\n${(base64.match(new RegExp(`.{1,${LINE}}`, 'g')) ?? []).join('\n')}\n-----END ${label}-----\n`;
}

/** Every block with this label, in order; what stands outside of blocks is explanatory text (RFC 7468, 2). Throws RangeError on bad base64. */
export function parsePem(label: PemLabel, text: string): Bytes[] {
  return [...text.matchAll(BLOCK)].filter((match) => match[1] === label).map((match) => parseBase64(match[2] ?? ''));
}

function parseBase64(lines: string): Bytes {
  const base64 = lines.replaceAll(/[\r\n]/g, '');
  if (base64.length % 4 !== 0 || base64 === '') throw new RangeError('PEM with base64 of a wrong length');
  return parseBase64url(base64.replace(/={1,2}$/, '').replaceAll('+', '-').replaceAll('/', '_'));
}
