/** Where the records of a cyclic file lie: its slots are a ring, so that a new record takes the free slot and moves none of the others. */
import type { Bytes } from '#protocol/bytes.ts';
import type { CardImage, CyclicFile, RecordFile } from '../card-image.ts';

/** For each cyclic file of an image, by ringName, the slot of its oldest record. */
export type Rings = ReadonlyMap<string, number>;

export const NO_RINGS: Rings = new Map();

export function ringName(applicationIndex: number, fileNumber: number): string {
  return `${applicationIndex}/${fileNumber}`;
}

/** The rings of `next`, turned from those of `image` so that few slots change. */
export function turnRings(rings: Rings, image: CardImage, next: CardImage): Rings {
  const turned = new Map<string, number>();
  next.applications.forEach((application, index) => {
    for (const file of application.files) {
      if (file.type !== 'cyclic') continue;
      const name = ringName(index, file.number);
      const old = image.applications[index]?.files.find((one) => one.number === file.number);
      const oldest = rings.get(name) ?? 0;
      turned.set(name, old?.type === 'cyclic' ? turn(old, oldest, file) : 0);
    }
  });
  return turned;
}

/** A record more in a full file makes the second oldest the oldest; whatever else happens, the ring can stay as it is. */
function turn(file: CyclicFile, oldest: number, next: CyclicFile): number {
  if (next.records === file.records || next.maxRecords !== file.maxRecords) return oldest % next.maxRecords;
  const before = slotsOf(file, oldest);
  const after = (oldest + 1) % next.maxRecords;
  return changedSlots(before, slotsOf(next, after)) < changedSlots(before, slotsOf(next, oldest)) ? after : oldest;
}

/** The records of a file, newest first, as they lie in its slots. */
export function slotsOf(file: Pick<RecordFile, 'records' | 'maxRecords'>, oldest: number): (Bytes | undefined)[] {
  const slots = new Array<Bytes | undefined>(file.maxRecords).fill(undefined);
  file.records.forEach((record, index) => (slots[slotOf(file, oldest, file.records.length, index)] = record));
  return slots;
}

/** The slot of the record that is the `index` newest of `count`. */
export function slotOf({ maxRecords }: Pick<RecordFile, 'maxRecords'>, oldest: number, count: number, index: number): number {
  return (oldest + count - 1 - index) % maxRecords;
}

function changedSlots(before: readonly (Bytes | undefined)[], after: readonly (Bytes | undefined)[]): number {
  return before.filter((record, slot) => record !== after[slot]).length;
}
