/** Ends bills that were not paid in time: what is proved not debited is CLOSED, what is in doubt EXPIRED; never before the bill's expiry + 5 minutes (payment-rules 9, 10). */
import { createDeciding } from './deciding.ts';
import type { ApplicationParts } from './parts.ts';

export const EXPIRY_GRACE_MS = 5 * 60_000;
const BATCH = 100;

/** One pass; answers how many payments it ended. */
export async function endOverdue(parts: ApplicationParts): Promise<number> {
  const at = Math.floor(parts.now());
  const deciding = createDeciding(parts);
  const overdue = await parts.store.overdue(at - EXPIRY_GRACE_MS, BATCH);
  for (const operation of overdue) await deciding.byClock(operation, at);
  return overdue.length;
}
