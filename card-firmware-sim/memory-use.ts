/** How much memory applications and files take on a card with free memory. Documents say: in blocks of 32 bytes; how many for an application is our estimate. */
import { usableRecords } from './card-image.ts';
import type { CardApplication, CardFile, CardImage } from './card-image.ts';
import type { Profile } from './profile.ts';

const BLOCK_BYTES = 32;
const KEY_BYTES = 16;

/** Bytes that are left for applications and files. */
export function freeBytes({ picc, applications }: CardImage, { memoryBytes }: Profile): number {
  return memoryBytes - picc.lostBytes - applications.reduce((sum, application) => sum + applicationBytes(application), 0);
}

/** An application with all its files. */
export function applicationBytes({ keys, files }: CardApplication): number {
  return BLOCK_BYTES + inBlocks(keys.length * KEY_BYTES) + files.reduce((sum, file) => sum + fileBytes(file), 0);
}

export function fileBytes(file: CardFile): number {
  switch (file.type) {
    case 'standard':
      return inBlocks(file.content.length);
    case 'backup':
      // The committed content and its shadow.
      return 2 * inBlocks(file.content.length);
    case 'linear':
    case 'cyclic':
      return BLOCK_BYTES + inBlocks((usableRecords(file) + 1) * file.recordBytes);
    case 'value':
      return BLOCK_BYTES;
    case 'transaction-mac':
      return 2 * BLOCK_BYTES;
  }
}

function inBlocks(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}
