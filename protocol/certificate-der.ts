/** Strict DER (ITU-T X.690 section 10): one spelling for one value, so that a certificate has one thumbprint. The libraries' readers accept BER. */
import type { Bytes } from './bytes.ts';

export interface DerNode {
  readonly tag: number;
  /** The whole encoding, tag and length included. */
  readonly der: Bytes;
  readonly content: Bytes;
  /** Empty for a primitive node. */
  readonly children: readonly DerNode[];
}

export const TAG = {
  boolean: 0x01, integer: 0x02, bitString: 0x03, octetString: 0x04, objectIdentifier: 0x06, utf8String: 0x0c,
  printableString: 0x13, utcTime: 0x17, generalizedTime: 0x18, sequence: 0x30, set: 0x31,
} as const;

const CONSTRUCTED = 0x20;
const MAX_DEPTH = 16;

/** The tree of one DER value that fills `bytes` to the last; throws RangeError on BER, trailing bytes or deep nesting. */
export function parseDer(bytes: Bytes): DerNode {
  const node = readNode(bytes, 0);
  if (node.der.length !== bytes.length) throw new RangeError('bytes after the DER value');
  return node;
}

function readNode(bytes: Bytes, depth: number): DerNode {
  if (depth > MAX_DEPTH) throw new RangeError('DER nested too deeply');
  const tag = bytes[0] ?? fail('DER value cut off');
  if ((tag & 0x1f) === 0x1f || tag === 0) throw new RangeError('a DER tag that no certificate uses');
  const { length, headerLength } = readLength(bytes);
  if (headerLength + length > bytes.length) throw new RangeError('DER value cut off');
  const content = bytes.subarray(headerLength, headerLength + length);
  requireCanonical(tag, content);
  const children: DerNode[] = [];
  if ((tag & CONSTRUCTED) !== 0) {
    for (let at = 0; at < content.length;) {
      const child = readNode(content.subarray(at), depth + 1);
      children.push(child);
      at += child.der.length;
    }
  }
  return { tag, der: bytes.subarray(0, headerLength + length), content, children };
}

// X.690, 10.1: definite, in the fewest octets. Two octets of length (64 kB) are more than any certificate here may have.
function readLength(bytes: Bytes): { length: number; headerLength: number } {
  const first = bytes[1] ?? fail('DER value cut off');
  if (first < 0x80) return { length: first, headerLength: 2 };
  const octets = first & 0x7f;
  if (octets < 1 || octets > 2 || bytes.length < 2 + octets) throw new RangeError('a DER length that no certificate has');
  const length = octets === 1 ? bytes[2] ?? 0 : (bytes[2] ?? 0) * 256 + (bytes[3] ?? 0);
  if (length < (octets === 1 ? 0x80 : 0x100)) throw new RangeError('a DER length with too many octets');
  return { length, headerLength: 2 + octets };
}

function requireCanonical(tag: number, content: Bytes): void {
  const [first, second = 0] = content;
  if (tag === TAG.boolean && !(content.length === 1 && (first === 0 || first === 0xff))) throw new RangeError('a BOOLEAN that is neither 00 nor FF');
  if (tag !== TAG.integer) return;
  if (first === undefined) throw new RangeError('an INTEGER without content');
  // X.690, 8.3.2: the first nine bits are neither all zero nor all one.
  const padded = (first === 0 && second < 0x80) || (first === 0xff && second >= 0x80);
  if (padded && content.length > 1) throw new RangeError('an INTEGER with too many octets');
}

function fail(detail: string): never {
  throw new RangeError(detail);
}

/** ECDSA-Sig-Value (RFC 5480 appendix A) as r || s of 32 bytes each, the form that WebCrypto takes. */
export function parseEcdsaSignature(der: Bytes): Bytes {
  const node = parseDer(der);
  const [r, s] = node.children;
  if (node.tag !== TAG.sequence || node.children.length !== 2 || r === undefined || s === undefined) throw new RangeError('not an ECDSA signature');
  const raw = new Uint8Array(64);
  [r, s].forEach((half, index) => {
    const magnitude = half.content[0] === 0 ? half.content.subarray(1) : half.content;
    if (half.tag !== TAG.integer || (half.content[0] ?? 0x80) >= 0x80 || magnitude.length > 32) throw new RangeError('not an ECDSA signature of P-256');
    raw.set(magnitude, 32 * (index + 1) - magnitude.length);
  });
  return raw;
}
