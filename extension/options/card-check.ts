/** Looks at each card that is put on a reader: is it of a kind that can pay? Reads nothing but its number, and lets go of it at once. */
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import { openContact } from '#protocol/card-contact.ts';
import type { CardWatch } from '../ports/card-watch.ts';

export type CardState = { readonly kind: 'waiting' } | { readonly kind: 'recognized'; readonly ending: string } | { readonly kind: 'failed'; readonly code: FailureCode };

/** Calls `onState` after each card, until `stop`: a card that is put down while nobody looks here is meant for somebody else. */
export function startCardCheck(watch: CardWatch, onState: (state: CardState) => void): { stop(): void } {
  const controller = new AbortController();
  void run(watch, controller.signal, onState);
  return { stop: () => controller.abort(new Failure('payment/aborted')) };
}

async function run(watch: CardWatch, signal: AbortSignal, onState: (state: CardState) => void): Promise<void> {
  while (!signal.aborted) {
    try {
      const card = await watch.awaitCard(signal, () => undefined);
      try {
        const { cardId } = await openContact(card, 1);
        onState({ kind: 'recognized', ending: cardId.slice(-4) });
      } finally {
        await card.close();
      }
    } catch (thrown) {
      const { code } = asFailure(thrown);
      // We gave up ourselves: the page is going.
      if (code !== 'payment/aborted') onState({ kind: 'failed', code });
    }
    // Each card once: the next look is at its return, or at another card.
    watch.holdPresentCard();
  }
}
