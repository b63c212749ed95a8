/** ISO 7816-4 selection of the card's application, the one command of ours that is not a native one. */
import type { CardCommand } from '#protocol/apdu.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { SW } from './instructions.ts';

/** By DF name, no answer data (P2 0C): drops authentication and any open transaction. */
export function selectApplication(name: Bytes): CardCommand {
  return { apdu: concatBytes(Uint8Array.of(0x00, 0xa4, 0x04, 0x0c, name.length), name, Uint8Array.of(0x00)), expectedStatus: SW.IsoOk };
}
