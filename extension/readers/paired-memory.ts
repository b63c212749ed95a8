/** Remembers which readers were paired, so that one that is unplugged is still shown: the browser lists only those that are connected. */
import * as v from 'valibot';
import type { DeviceReaderKind } from '#bridge/reader-registry.ts';
import type { LocalStorage } from '../store/settings.ts';

const KEY = 'pairedReaders';
/** A desk has one or two; the newest stay. */
const MAX_REMEMBERED = 12;

const rememberedSchema = v.object({
  kind: v.picklist(['rc-s300', 'rc-s380', 'magtek', 'vivotech', 'apdu-hid'] satisfies DeviceReaderKind[]),
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(256)),
  isKept: v.optional(v.boolean()),
});

export type RememberedReader = v.InferOutput<typeof rememberedSchema>;

export interface PairedMemory {
  all(): Promise<RememberedReader[]>;
  /** Adds it, or brings what is known of it up to date. */
  remember(reader: RememberedReader): Promise<void>;
  forget(reader: Pick<RememberedReader, 'kind' | 'name'>): Promise<void>;
}

/** A value that cannot be read counts as absent. One page writes at a time; two of them lose at most a line of this list. */
export function createPairedMemory(storage: LocalStorage): PairedMemory {
  const all = async (): Promise<RememberedReader[]> => {
    const stored = v.safeParse(v.array(v.unknown()), (await storage.get(KEY))[KEY]);
    return (stored.success ? stored.output : []).flatMap((value) => {
      const reader = v.safeParse(rememberedSchema, value);
      return reader.success ? [reader.output] : [];
    });
  };
  const without = async ({ kind, name }: Pick<RememberedReader, 'kind' | 'name'>) => (await all()).filter((other) => other.kind !== kind || other.name !== name);
  return {
    all,
    remember: async (reader) => storage.set({ [KEY]: [...(await without(reader)), reader].slice(-MAX_REMEMBERED) }),
    forget: async (reader) => storage.set({ [KEY]: await without(reader) }),
  };
}
