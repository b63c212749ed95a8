/** Sends the notices that are owed to shops until each is acknowledged, with growing intervals; a lost or repeated delivery does no harm. */
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { acknowledgement } from '#protocol/messages/notice.ts';
import { byCertificate, digestOf, verifyMessage, type Jws, type SignatureTally } from '#protocol/signed.ts';
import type { ApplicationStore, OutstandingNotice } from './store.ts';

const FIRST_INTERVAL_MS = 1_000;
const LONGEST_INTERVAL_MS = 10 * 60_000;
const BATCH = 50;

export interface OutboxParts {
  readonly store: ApplicationStore;
  /** Carries a notice to a shop and its signed acknowledgement back; throws when the shop does not answer. */
  readonly deliver: (shopId: string, notice: Jws) => Promise<Jws>;
  readonly verifier: CertificateVerifier;
  readonly tally: SignatureTally;
  readonly now: () => number;
  /** Our own log: which notice is still owed, and why. */
  readonly onFailure: (notice: OutstandingNotice, failure: Failure) => void;
}

/** One pass over what is due; answers how many notices were acknowledged. */
export async function sendDueNotices(parts: OutboxParts): Promise<number> {
  const { store, now, onFailure } = parts;
  let acknowledged = 0;
  for (const notice of await store.dueNotices(Math.floor(now()), BATCH)) {
    try {
      await deliverOne(notice, parts);
      await store.markNotice(notice.noticeId, { acknowledgedAt: Math.floor(now()) });
      acknowledged += 1;
    } catch (thrown) {
      onFailure(notice, asFailure(thrown));
      const intervalMs = Math.min(FIRST_INTERVAL_MS * 2 ** notice.attempts, LONGEST_INTERVAL_MS);
      await store.markNotice(notice.noticeId, { nextAttemptAt: Math.floor(now()) + intervalMs });
    }
  }
  return acknowledged;
}

async function deliverOne(notice: OutstandingNotice, { deliver, verifier, tally }: OutboxParts): Promise<void> {
  const answer = await deliver(notice.shopId, notice.jws);
  const { body } = await verifyMessage(acknowledgement, answer, byCertificate(verifier, 'shop'), tally);
  if (body.noticeDigest !== (await digestOf(notice.jws)) || body.shopId !== notice.shopId || body.billId !== notice.billId) {
    throw new Failure('message/not-fresh', { detail: 'acknowledgement of another notice' });
  }
}
