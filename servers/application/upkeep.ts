/** What the application server does by itself: sends notices as soon as they are owed and again until acknowledged, and ends overdue bills. */
import { endOverdue } from './expiry.ts';
import { sendDueNotices, type OutboxParts } from './outbox.ts';
import type { ApplicationParts } from './parts.ts';

const OUTBOX_INTERVAL_MS = 1_000;
const EXPIRY_INTERVAL_MS = 30_000;

export interface Upkeep {
  start(parts: ApplicationParts): void;
  /** A notice was committed just now. */
  readonly noticeIsDue: () => void;
  /** Ends after the passes under way. */
  stop(): Promise<void>;
}

export function createUpkeep({ outbox, onError }: { outbox: OutboxParts; onError: (error: unknown) => void }): Upkeep {
  const sending = createPass(() => sendDueNotices(outbox), onError);
  let timers: NodeJS.Timeout[] = [];
  let expiring: Pass | undefined;
  return {
    start: (parts) => {
      const pass = createPass(() => endOverdue(parts), onError);
      expiring = pass;
      timers = [setInterval(sending.run, OUTBOX_INTERVAL_MS), setInterval(pass.run, EXPIRY_INTERVAL_MS)];
    },
    noticeIsDue: sending.run,
    stop: async () => {
      for (const timer of timers) clearInterval(timer);
      await Promise.all([sending.end(), expiring?.end()]);
    },
  };
}

interface Pass {
  readonly run: () => void;
  end(): Promise<void>;
}

/** One at a time; asked for while one is under way, it runs once more. */
function createPass(act: () => Promise<unknown>, onError: (error: unknown) => void): Pass {
  let current: Promise<void> | undefined;
  let again = false;
  let ended = false;
  const run = (): void => {
    if (ended) return;
    if (current !== undefined) {
      again = true;
      return;
    }
    again = false;
    current = act()
      .then(() => undefined, onError)
      .finally(() => {
        current = undefined;
        if (again) run();
      });
  };
  return {
    run,
    end: async () => {
      ended = true;
      await current;
    },
  };
}
