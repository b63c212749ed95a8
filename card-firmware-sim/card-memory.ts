/** The tear-safe memory of a card: it holds one image, and a commit replaces it wholly or not at all. */
import type { CardImage } from './card-image.ts';

export interface CardMemory {
  /** The image that a loss of power would leave behind. */
  readonly image: CardImage;
  /** Makes `next` permanent. If it rejects, `image` says which of the two is there. */
  commit(next: CardImage): Promise<void>;
}

/** Memory that lives as long as the object. */
export class VolatileCardMemory implements CardMemory {
  #image: CardImage;

  constructor(image: CardImage) {
    this.#image = image;
  }

  get image(): CardImage {
    return this.#image;
  }

  commit(next: CardImage): Promise<void> {
    this.#image = next;
    return Promise.resolve();
  }
}
