/** The shop as a port of the flow: messages travel through the content script and the page to the shop's endpoints, and the answers back. */
import { Failure } from '#protocol/failure.ts';
import type { Shop } from '#protocol/parties.ts';
import type { Jws } from '#protocol/signed.ts';
import type { FromWindow, ToWindow } from '../content/link-messages.ts';
import { isSignedMessage, type Endpoint, type PageFailure, type Receipt } from '../page/page-messages.ts';

/** The page's own limit for its fetch is 20 s. */
const LIMIT_MS = 25_000;

/** The part of `runtime.Port` that is used. */
export interface LinkPort {
  postMessage(message: unknown): void;
  disconnect(): void;
  readonly onMessage: { addListener(listener: (message: unknown) => void): void };
  readonly onDisconnect: { addListener(listener: () => void): void };
}

/** The way to the page that asked; once it is closed, the page has gone and nothing reaches it any more. */
export interface PageLink {
  readonly isOpen: boolean;
  carry(endpoint: Endpoint, message: Jws): Promise<Jws>;
  /** What the page is told if this window goes away from here on. */
  setProvisional(receipt: Receipt | null): void;
  settle(receipt: Receipt): void;
  fail(failure: PageFailure): void;
}

export function openPageLink(port: LinkPort): PageLink {
  const waiting = new Map<number, (message: string | null) => void>();
  let last = 0;
  let open = true;
  port.onMessage.addListener((message) => {
    const { exchange, message: carried } = message as ToWindow;
    waiting.get(exchange)?.(isSignedMessage(carried) ? carried : null);
  });
  port.onDisconnect.addListener(() => {
    open = false;
    for (const answer of [...waiting.values()]) answer(null);
  });
  const post = (message: FromWindow): void => {
    if (open) port.postMessage(message);
  };

  return {
    get isOpen() {
      return open;
    },
    carry: async (endpoint, message) => {
      const exchange = ++last;
      const answer = await new Promise<string | null>((resolve) => {
        const timer = setTimeout(resolve, LIMIT_MS, null);
        waiting.set(exchange, (carried) => {
          clearTimeout(timer);
          resolve(carried);
        });
        if (open) post({ type: 'carry', exchange, endpoint, message });
        else resolve(null);
      }).finally(() => waiting.delete(exchange));
      if (answer === null) throw new Failure('shop/unreachable');
      return answer;
    },
    setProvisional: (receipt) => post({ type: 'provisional', receipt }),
    settle: (receipt) => post({ type: 'settled', receipt }),
    fail: (failure) => post({ type: 'failed', failure }),
  };
}

/** `origin` and `statement`: as the background has them from the browser and verified them. */
export function createShop({ origin, statement }: { origin: string; statement: Jws }, link: PageLink): Shop {
  return {
    origin,
    introduce: () => Promise.resolve(statement),
    decide: (decision) => link.carry('decisions', decision),
    requestBill: (billRequest) => link.carry('bill-requests', billRequest),
  };
}
