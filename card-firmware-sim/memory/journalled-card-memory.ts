/** A card's memory over an EEPROM: what a commit changes becomes permanent all together or not at all, whichever write the power is lost at. */
import { CardImageError } from './card-image-error.ts';
import { createJournalledContent, journalledBytes, RedoJournal } from './redo-journal.ts';
import { encodeCardLayout, HOME_PAGES, parseCardLayout } from './card-layout.ts';
import { MemoryEeprom } from './eeprom.ts';
import { NO_RINGS, turnRings } from './record-rings.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardImage } from '../card-image.ts';
import type { CardLayout } from './card-layout.ts';
import type { Eeprom, WriteObserver } from './eeprom.ts';

export const CARD_BYTES = journalledBytes(HOME_PAGES);

/** The content of an EEPROM that holds this image. Throws CardImageError for an image that is impossible or too large. */
export function createCardContent(image: CardImage): Bytes {
  return createJournalledContent(HOME_PAGES, encodeCardLayout({ image, rings: NO_RINGS }));
}

export class JournalledCardMemory {
  readonly #eeprom: Eeprom;
  #journal: RedoJournal;
  #layout: CardLayout;
  #hasPower = true;

  private constructor(eeprom: Eeprom, journal: RedoJournal, layout: CardLayout) {
    this.#eeprom = eeprom;
    this.#journal = journal;
    this.#layout = layout;
  }

  /** On an EEPROM of its own, which lives as long as the object. */
  static begin(image: CardImage, onWrite?: WriteObserver): JournalledCardMemory {
    const eeprom = new MemoryEeprom(createCardContent(image), onWrite);
    return new JournalledCardMemory(eeprom, RedoJournal.begin(eeprom, HOME_PAGES), { image, rings: NO_RINGS });
  }

  /** On an EEPROM of CARD_BYTES that has its power again. Throws CardImageError if it holds no card image. */
  static async powerUp(eeprom: Eeprom): Promise<JournalledCardMemory> {
    const journal = await RedoJournal.powerUp(eeprom, HOME_PAGES);
    return new JournalledCardMemory(eeprom, journal, parseCardLayout(journal.home));
  }

  get hasPower(): boolean {
    return this.#hasPower;
  }

  /** Throws after a commit that was cut: only the next power-up finds out what became of it, and until then neither answer would be true. */
  get image(): CardImage {
    if (!this.#hasPower) throw new CardImageError('the memory is without power');
    return this.#layout.image;
  }

  async commit(next: CardImage): Promise<void> {
    const { image } = this;
    const layout = { image: next, rings: turnRings(this.#layout.rings, image, next) };
    // An image that is refused changes nothing.
    const content = encodeCardLayout(layout);
    try {
      await this.#journal.commit(content);
    } catch (error) {
      this.#hasPower = false;
      throw error;
    }
    this.#layout = layout;
  }

  /** After a commit that was cut, on the same EEPROM. */
  async powerUp(): Promise<void> {
    if (this.#hasPower) return;
    this.#journal = await RedoJournal.powerUp(this.#eeprom, HOME_PAGES);
    this.#layout = parseCardLayout(this.#journal.home);
    this.#hasPower = true;
  }
}
