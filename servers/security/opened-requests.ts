/** Which payment requests have opened a session, for as long as the bill in one can be good. In memory: after a restart no re-keying from before it goes on either. */
import { Failure } from '#protocol/failure.ts';
import { MAX_BILL_LIFE_MS } from '#protocol/messages/bill.ts';

/** Some hundred payments a second. */
const MAX_REQUESTS = 500_000;

export interface OpenedRequests {
  /** `digest`: of the request's signing input. */
  hasOpened(digest: string): boolean;
  /** Throws `settlement/busy` when there are too many. */
  remember(digest: string): void;
}

export function createOpenedRequests(now: () => number): OpenedRequests {
  /** In order of age. */
  const openedAt = new Map<string, number>();
  return {
    hasOpened: (digest) => openedAt.has(digest),
    remember: (digest) => {
      for (const [old, at] of openedAt) {
        if (now() - at <= MAX_BILL_LIFE_MS) break;
        openedAt.delete(old);
      }
      if (openedAt.size >= MAX_REQUESTS) throw new Failure('settlement/busy', { detail: 'too many payment requests' });
      if (!openedAt.has(digest)) openedAt.set(digest, now());
    },
  };
}
