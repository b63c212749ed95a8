/** For tests only: a card whose power can be cut at any write of its memory, and who lies on the reader again afterwards. */
import { CardUnderTest } from './card.ts';
import { createCardContent, JournalledCardMemory } from '../memory/journalled-card-memory.ts';
import { TearableEeprom } from '../memory/testing-eeprom.ts';
import type { CardImage } from '../card-image.ts';
import type { ChipOptions } from '../chip.ts';
import type { WriteObserver } from '../memory/eeprom.ts';

export class TearableCard {
  readonly eeprom: TearableEeprom;
  #card: CardUnderTest;

  private constructor(eeprom: TearableEeprom, card: CardUnderTest) {
    this.eeprom = eeprom;
    this.#card = card;
  }

  static async insert(image: CardImage, { onWrite, ...options }: Partial<ChipOptions> & { readonly onWrite?: WriteObserver } = {}): Promise<TearableCard> {
    const eeprom = new TearableEeprom(createCardContent(image), onWrite);
    return new TearableCard(eeprom, new CardUnderTest(undefined, { ...options, memory: await JournalledCardMemory.powerUp(eeprom) }));
  }

  /** The card as it lies on the reader since the power came last. */
  get card(): CardUnderTest {
    return this.#card;
  }

  get image(): CardImage {
    return this.#card.memory.image;
  }

  /** Field lost and found: another chip over what the memory holds. */
  async powerUp(): Promise<void> {
    this.eeprom.powerUp();
    this.#card = new CardUnderTest(undefined, { memory: await JournalledCardMemory.powerUp(this.eeprom) });
  }
}
