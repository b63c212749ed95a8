/** What a measurement runs inside pages, where only a browser's own interfaces exist; nothing of it is part of the product. */
import type { Page } from 'playwright';

interface BenchCommand {
  readonly apdu: string;
  readonly expect: string;
}

interface TransmitOrder {
  readonly host: string;
  readonly protocol: number;
  readonly command: BenchCommand;
  /** Fetches the rest of the command's answer; not measured. */
  readonly rest: readonly BenchCommand[];
  readonly count: number;
  readonly timeoutMs: number;
}

/** Run in a page of the extension: starts a native host, takes the card, sends the command `count` times; answers milliseconds. */
export async function transmitThroughHost({ host, protocol, command, rest, count, timeoutMs }: TransmitOrder): Promise<number[]> {
  type Answer = { readonly id: number; readonly ok?: unknown; readonly error?: { readonly code: string } };
  const port = chrome.runtime.connectNative(host);
  let lastId = 0;
  let hear: (answer: Answer) => void = () => undefined;
  let fail: (reason: Error) => void = () => undefined;
  let cardPresent: () => void = () => undefined;
  let readerName = '';
  const see = (list: { readonly readers?: readonly { readonly name: string; readonly state: string }[] }): void => {
    readerName = list.readers?.find(({ state }) => state === 'present')?.name ?? '';
    if (readerName !== '') cardPresent();
  };
  port.onMessage.addListener((message: Answer & { readonly event?: string }) => {
    if (message.event === 'readers') see(message as Parameters<typeof see>[0]);
    else hear(message);
  });
  port.onDisconnect.addListener(() => fail(new Error(chrome.runtime.lastError?.message ?? 'the host has gone')));
  const ask = (body: object): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const id = ++lastId;
      fail = reject;
      hear = (answer) => (answer.id === id && answer.error === undefined ? resolve(answer.ok) : reject(new Error(answer.error?.code ?? 'an answer to another request')));
      port.postMessage({ id, ...body });
    });
  try {
    await ask({ op: 'hello', protocol });
    const present = new Promise<void>((resolve) => (cardPresent = resolve));
    see((await ask({ op: 'watch' })) as Parameters<typeof see>[0]);
    await present;
    const { channel } = (await ask({ op: 'connect', reader: readerName })) as { channel: number };
    const transmit = async (commands: readonly BenchCommand[]): Promise<void> => {
      const { responses } = (await ask({ op: 'transmit', channel, commands, timeoutMs })) as { responses: string[] };
      if (!commands.every(({ expect }, i) => responses[i]?.endsWith(expect))) throw new Error(`the card answered ${responses.join(' ')}`);
    };
    const values: number[] = [];
    for (let i = 0; i < count; i++) {
      const startedAt = performance.now();
      await transmit([command]);
      values.push(performance.now() - startedAt);
      await transmit(rest);
    }
    await ask({ op: 'disconnect', channel });
    return values;
  } finally {
    port.disconnect();
  }
}

/** Exchanges of the payment itself have small numbers. */
const FIRST_EXCHANGE = 1_000_000;

/**
 * Messages of a payment window to the script in the shop's page and back: `count` times, one after the other; answers milliseconds.
 * The shop's own script does not hear of them: the page answers at once, where the real one would ask its server first.
 */
export async function relayMessages(window: Page, shopPage: Page, count: number): Promise<number[]> {
  await shopPage.evaluate(answerAtOnce, FIRST_EXCHANGE);
  const { searchParams } = new URL(window.url());
  const order = { tabId: Number(searchParams.get('tab')), paymentId: searchParams.get('payment') ?? '', firstExchange: FIRST_EXCHANGE, count };
  return window.evaluate(sendToShopPage, order);
}

function answerAtOnce(firstExchange: number): void {
  const page = globalThis as { answersAtOnce?: boolean };
  if (page.answersAtOnce === true) return;
  page.answersAtOnce = true;
  window.addEventListener(
    'message',
    (event: MessageEvent<{ icCard?: string; message?: { type: string; id: number; exchange: number; message: string } }>) => {
      const { icCard, message } = event.data;
      if (icCard !== 'to-page' || message?.type !== 'carry' || message.exchange < firstExchange) return;
      event.stopImmediatePropagation();
      const { id, exchange } = message;
      window.postMessage({ icCard: 'to-extension', message: { type: 'carried', id, exchange, message: message.message } }, window.location.origin);
    },
    { capture: true },
  );
}

/** The size of a signed message without its certificates: 1 kB. */
async function sendToShopPage({ tabId, paymentId, firstExchange, count }: { tabId: number; paymentId: string; firstExchange: number; count: number }): Promise<number[]> {
  const port = chrome.tabs.connect(tabId, { name: `payment:${paymentId}`, frameId: 0 });
  const message = `${'a'.repeat(100)}.${'b'.repeat(836)}.${'c'.repeat(86)}`;
  let hear: () => void = () => undefined;
  port.onMessage.addListener((answer: { readonly message: string | null }) => {
    if (answer.message === message) hear();
  });
  const values: number[] = [];
  for (let i = 0; i < count; i++) {
    const startedAt = performance.now();
    await new Promise<void>((resolve) => {
      hear = resolve;
      port.postMessage({ type: 'carry', exchange: firstExchange + i, endpoint: 'decisions', message });
    });
    values.push(performance.now() - startedAt);
  }
  return values;
}
