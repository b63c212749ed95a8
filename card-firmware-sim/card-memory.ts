/** The tear-safe memory of a card: it holds one image, and a commit replaces it wholly or not at all. */
import { JournalledCardMemory } from './memory/journalled-card-memory.ts';
import type { CardImage } from './card-image.ts';
import type { WriteObserver } from './memory/eeprom.ts';

export interface CardMemory {
  /** The image that a loss of power would leave behind. Throws after a commit that was cut, for then nobody knows before the next power-up. */
  readonly image: CardImage;
  /** Makes `next` permanent. If it rejects with CardImageError, `next` was refused and nothing has changed; after any other error the memory is without power, and it holds one of the two. */
  commit(next: CardImage): Promise<void>;
  /** The power is there again: finishes or forgets a commit that was cut, and does nothing if none was. If it rejects, the memory stays without power. */
  powerUp(): Promise<void>;
}

/** Memory that lives as long as the object; `onWrite` hears of each page that commits write. */
export class VolatileCardMemory implements CardMemory {
  readonly #memory: JournalledCardMemory;

  constructor(image: CardImage, onWrite?: WriteObserver) {
    this.#memory = JournalledCardMemory.begin(image, onWrite);
  }

  get image(): CardImage {
    return this.#memory.image;
  }

  commit(next: CardImage): Promise<void> {
    return this.#memory.commit(next);
  }

  powerUp(): Promise<void> {
    return this.#memory.powerUp();
  }
}
