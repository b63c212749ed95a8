/** Command and response APDUs as they cross the bridge: short form only (ISO 7816-4, 5.1), status word last. */
import type { Bytes } from './bytes.ts';

/** One command for the card and the status word that lets a batch go on. */
export interface CardCommand {
  readonly apdu: Bytes;
  /** Status word, for example 0x9100; any other answer ends the batch after it. */
  readonly expectedStatus: number;
}

/** A short command APDU: 4-byte header, at most Lc + 255 bytes of data + Le. */
export const MAX_COMMAND_BYTES = 261;
/** A short response APDU: at most 256 bytes of data and the status word. */
export const MAX_RESPONSE_BYTES = 258;
/** More commands than any batch of ours needs (a payment's SPC has four, issuing's largest sixteen). */
export const MAX_BATCH_COMMANDS = 32;

/** Status word of a response APDU of at least two bytes. */
export function statusWord(response: Uint8Array): number {
  if (response.length < 2) throw new RangeError('response APDU without a status word');
  return ((response.at(-2) ?? 0) << 8) | (response.at(-1) ?? 0);
}

export function responseData(response: Uint8Array): Bytes {
  return new Uint8Array(response.subarray(0, Math.max(0, response.length - 2)));
}

/** True for the short APDU forms 1 to 4 (ISO 7816-4, 5.1): nothing missing, nothing trailing. */
export function isShortCommand(apdu: Uint8Array): boolean {
  if (apdu.length < 4 || apdu.length > MAX_COMMAND_BYTES) return false;
  if (apdu.length <= 5) return true;
  const dataBytes = apdu[4] ?? 0;
  return dataBytes > 0 && (apdu.length === 5 + dataBytes || apdu.length === 6 + dataBytes);
}

/** `90 INS 00 00 [Lc data] 00`: a DESFire command in its ISO wrapping. */
export function wrapNative(instruction: number, data: Uint8Array = new Uint8Array()): Bytes {
  if (data.length > 255) throw new RangeError('more than 255 bytes of command data');
  const header = [0x90, instruction, 0x00, 0x00];
  return new Uint8Array(data.length === 0 ? [...header, 0x00] : [...header, data.length, ...data, 0x00]);
}

