/** The simulated card of a world, in this process: on the virtual reader or lifted, with a fate for each command; its image is a file. */
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Chip } from '#card-firmware-sim/chip.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { FileCardMemory } from '#card-firmware-sim/file-card-memory.ts';
import { journalPayments } from '#card-firmware-sim/journal.ts';
import { walletApplication } from '#card-firmware-sim/card-image.ts';
import type { CommandFate } from '#card-firmware-sim/vpcd.ts';
import { secureRandom } from '#card-firmware-sim/crypto.ts';
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import type { JournalEntry } from '#protocol/step.ts';
import type { ProfileName } from '#card-firmware-sim/profile.ts';
import type { CardPlace } from './card-place.ts';

export interface SimulatedCard {
  /** 14 hex digits. */
  readonly cardId: string;
  /** Decides what becomes of each command, until it is set again. */
  fate: (command: Bytes, index: number) => CommandFate;
  /** As it stands in the chip's memory, not asked through any reader. */
  balanceMinor(): bigint;
  /** The same of the versions of the wallet's keys, by key number. */
  keyVersions(): number[];
  /**
   * Puts the card on the reader (its usual one unless told otherwise) and keeps it there, through restarts of the reader; at once if it lies on one already. A card that was just
   * lifted may be put back at once: the reader has seen it go before it sees it come.
   */
  insert(place?: CardPlace): Promise<void>;
  /** Takes it away; resolves when the chip is at rest, also after a fate has lifted it. */
  lift(): Promise<void>;
  close(): Promise<void>;
}

export interface CardOptions {
  readonly folder: string;
  /** File name below `folder`/cards, without ending. */
  readonly name: string;
  /** Of a card that is made new; default: a Light. */
  readonly profile?: ProfileName | undefined;
  /** Where it is put unless told otherwise. */
  readonly place: CardPlace;
  readonly onJournal: (entry: JournalEntry) => void;
}

/** Former versions gave all their card images the ending of a text: such a card is used on. */
function imagePath(cards: string, name: string): string {
  const [path, former] = [join(cards, `${name}.card`), join(cards, `${name}.json`)];
  return !existsSync(path) && existsSync(former) ? former : path;
}

export async function openSimulatedCard({ folder, name, profile, place: usualPlace, onJournal }: CardOptions): Promise<SimulatedCard> {
  await mkdir(join(folder, 'cards'), { recursive: true, mode: 0o700 });
  const memory = await FileCardMemory.open(imagePath(join(folder, 'cards'), name), () => createFactoryImage({ profile, random: secureRandom }));
  const chip = new Chip({ memory, observer: journalPayments(onJournal) });
  let inserted: AbortController | undefined;
  /** Settles when the latest insertion is over and the chip is at rest. */
  let atRest: Promise<void> = Promise.resolve();
  const card: SimulatedCard = {
    cardId: encodeHex(chip.uid),
    fate: () => 'answer',
    keyVersions: () => walletApplication(memory.image)?.keys.map(({ version }) => version) ?? [],
    balanceMinor: () => {
      const value = walletApplication(memory.image)?.files.find((file) => file.type === 'value');
      return value?.type === 'value' ? BigInt(value.value) : 0n;
    },
    insert: async (place = usualPlace) => {
      if (inserted !== undefined) return;
      const insertion = new AbortController();
      inserted = insertion;
      await new Promise<void>((resolve) => {
        // There is one chip: it comes back only once it has finished what it was lifted from, and lost its session.
        atRest = atRest.then(() =>
          place.keep({
            chip,
            signal: insertion.signal,
            fate: (command, index) => {
              const fate = card.fate(command, index);
              // A lifted card stays away until a person puts it back.
              if (fate === 'lift-before' || fate === 'lift-after') {
                if (inserted === insertion) inserted = undefined;
                insertion.abort();
              }
              return fate;
            },
            onThere: resolve,
          }),
        );
        // Lifted before it lay there.
        void atRest.then(resolve);
      });
    },
    lift: async () => {
      inserted?.abort();
      inserted = undefined;
      await atRest;
    },
    close: async () => {
      await card.lift();
      memory.close();
    },
  };
  return card;
}
