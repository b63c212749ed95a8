/**
 * Finds the card that pcsc-lite has forgotten, and wakes it. pcsc-lite polls a reader whose driver cannot announce cards. If it resets a
 * card that was lifted since its last poll, it notes the reader as empty; a card put back before the next poll is then no change to the
 * poll, and the reader counts as empty until the card is lifted again. Only the poll counts a removal: a reader that turned empty
 * without one, and stays so for longer than a poll takes, holds a card.
 */
import { DISPOSITION, type PcscLibrary, type ReaderEvent } from './library.ts';
import { SCARD, STATE } from './status.ts';

/** pcsc-lite polls every 400 ms (PCSCLITE_STATUS_POLL_RATE), and a poll asks the card for its ATR. */
export const POLL_MS = 500;

interface Sight {
  readonly isPresent: boolean;
  /** Insertions and removals so far: the upper half of the reader's state. */
  readonly changes: number;
  /** Since when the reader is empty without a removal; undefined where all is well. */
  readonly doubtfulSinceMs: number | undefined;
}

export class ForgottenCards {
  readonly #sights = new Map<string, Sight>();

  /** Whether a reader should be looked at again after POLL_MS. */
  get isInDoubt(): boolean {
    return [...this.#sights.values()].some(({ doubtfulSinceMs }) => doubtfulSinceMs !== undefined);
  }

  /** Takes the present states; answers the readers that hold a forgotten card, each again after another POLL_MS. */
  find(events: readonly ReaderEvent[], nowMs: number): string[] {
    const found: string[] = [];
    const before = new Map(this.#sights);
    this.#sights.clear();
    for (const { name, event } of events) {
      const sight = see(event, before.get(name), nowMs);
      const isOverdue = sight.doubtfulSinceMs !== undefined && nowMs - sight.doubtfulSinceMs >= POLL_MS;
      if (isOverdue) found.push(name);
      this.#sights.set(name, isOverdue ? { ...sight, doubtfulSinceMs: nowMs } : sight);
    }
    return found;
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
