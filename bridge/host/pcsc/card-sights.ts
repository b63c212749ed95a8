/**
 * What the states of readers do not say, from how they follow each other: a card that was exchanged between two looks, and the card that
 * pcsc-lite has forgotten, with the way to wake it.
 *
 * pcsc-lite polls a reader whose driver cannot announce cards. If it resets a card that was lifted since its last poll, it notes the
 * reader as empty; a card put back before the next poll is then no change to the poll, and the reader counts as empty until the card is
 * lifted again. Only the poll counts a removal: a reader that turned empty without one, and stays so for longer than a poll takes, holds
 * a card.
 */
import { DISPOSITION, type PcscLibrary, type ReaderEvent } from './library.ts';
import { SCARD, STATE } from './status.ts';

/** pcsc-lite polls every 400 ms (PCSCLITE_STATUS_POLL_RATE), and a poll asks the card for its ATR. */
export const POLL_MS = 500;

interface Sight {
  readonly isPresent: boolean;
  /** Insertions and removals so far, in the upper half of the reader's state (pcsc-lite, Windows; always 0 on macOS). */
  readonly changes: number;
  /** Since when the reader is empty without a removal; undefined where all is well. */
  readonly doubtfulSinceMs: number | undefined;
}

export interface Findings {
  /** Readers that hold a forgotten card; each again after another POLL_MS. */
  readonly forgotten: readonly string[];
  /** Readers whose card came after the one that was seen before, with a gap that nobody saw. */
  readonly exchanged: readonly string[];
}

export class CardSights {
  readonly #sights = new Map<string, Sight>();

  /** Whether a reader should be looked at again after POLL_MS. */
  get isInDoubt(): boolean {
    return [...this.#sights.values()].some(({ doubtfulSinceMs }) => doubtfulSinceMs !== undefined);
  }

  /** Takes the present states of all readers. */
  take(events: readonly ReaderEvent[], nowMs: number): Findings {
    const forgotten: string[] = [];
    const exchanged: string[] = [];
    const earlier = new Map(this.#sights);
    this.#sights.clear();
    for (const { name, event } of events) {
      const before = earlier.get(name);
      const sight = see(event, before, nowMs);
      const isOverdue = sight.doubtfulSinceMs !== undefined && nowMs - sight.doubtfulSinceMs >= POLL_MS;
      if (isOverdue) forgotten.push(name);
      if (before?.isPresent === true && sight.isPresent && before.changes !== sight.changes) exchanged.push(name);
      this.#sights.set(name, isOverdue ? { ...sight, doubtfulSinceMs: nowMs } : sight);
    }
    return { forgotten, exchanged };
  }
}

function see(event: number, before: Sight | undefined, nowMs: number): Sight {
  const isPresent = (event & STATE.PRESENT) !== 0;
  const changes = event >>> 16;
  const isSame = before?.changes === changes;
  if (isPresent || !isSame) return { isPresent, changes, doubtfulSinceMs: undefined };
  return { isPresent, changes, doubtfulSinceMs: before.isPresent ? nowMs : before.doubtfulSinceMs };
}

/**
 * Powers up whatever lies on the reader, which pcsc-lite does for a connection to the reader itself. Nothing happens where there is no
 * card, or where another program was faster: it could not be if the card were still forgotten.
 */
export async function wakeCard(library: PcscLibrary, reader: string): Promise<void> {
  const { status, context } = await library.establishContext();
  if (status !== SCARD.S_SUCCESS) return;
  try {
    const connected = await library.connectToReader(context, reader);
    if (connected.status === SCARD.S_SUCCESS) {
      await library.reconnectWithReset(connected.card);
      await library.disconnect(connected.card, DISPOSITION.LEAVE_CARD);
    }
  } finally {
    await library.releaseContext(context);
  }
}
