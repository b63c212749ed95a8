/** Machine time of a payment from the consent at ST7 to the outcome at ST20, near the application server and at a distance; the human is taken out. */
import type { Request } from 'playwright';
import { fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import type { Browser } from '#world/browser.ts';
import type { Stage } from '#world/stage.ts';
import { startDelayProxy, type DelayProxy } from './delay-proxy.ts';
import { agreeByItself, allowNames, takeMarks } from './human.ts';
import { roundMs, summarize, type Summary } from './statistics.ts';

/** The least that the data dependencies allow (with the balance read out). */
const ROUNDS = 4;
const ROUND_TRIPS_MS = [0, 50] as const;
/** The cheapest that the shop sells: a card of 50,000 pays for many. */
const PRODUCT = { productId: 'genmaicha', priceMinor: 480n };
export const OPENING_BALANCE_MINOR = 50_000n;

/** One payment, in milliseconds. */
interface Sample {
  /** Click at ST7 to the outcome's screen, without the time in which the balance waited for its click. */
  readonly machineMs: number;
  /** TCP and TLS with both certificates. It runs while the bill is read (ST7), for which the window leaves at least 350 ms. */
  readonly connectMs: number;
  /** What of opening the connection was left to wait for after the consent. */
  readonly connectAfterConsentMs: number;
  /** From the first byte of a round's message to the first of its answer, summed over all rounds: network and servers. */
  readonly roundsMs: number;
}

export interface PaymentFigures {
  readonly roundTripMs: number;
  readonly payments: number;
  /** Asserted for every payment. */
  readonly rounds: number;
  readonly machine: Summary;
  readonly connect: Summary;
  readonly connectAfterConsent: Summary;
  readonly inRounds: Summary;
  /** Of the machine time (medians). */
  readonly shareOfConnectAfterConsent: number;
  readonly shareOfRounds: number;
}

export interface PaymentReport {
  readonly near: PaymentFigures;
  readonly far: PaymentFigures;
  /** Medians of the machine time. */
  readonly ratio: number;
  /** What the distance alone must cost: four rounds. */
  readonly leastAddedMs: number;
  readonly addedMs: number;
}

/** As many as the card can pay for, one to meet the shop included. */
export const MAX_RUNS = Number(OPENING_BALANCE_MINOR / PRODUCT.priceMinor - 1n) / ROUND_TRIPS_MS.length;

/** `runs` payments at each distance. The stage's card must hold the opening balance above. */
export async function measurePayments(stage: Stage, runs: number, log: (line: string) => void): Promise<PaymentReport> {
  const { ports, origins } = stage.world;
  const proxy = await startDelayProxy(ports.application);
  // The browser alone takes the detour: same name, same port in every address, another port on the wire.
  const detour = `--host-resolver-rules=MAP ${new URL(origins.application).host} 127.0.0.1:${proxy.port}`;
  try {
    const browser = await stage.openBrowser({ browserArguments: [detour] });
    const payOnce = async (roundTripMs: number): Promise<Sample> => {
      proxy.setRoundTripMs(roundTripMs);
      return playOne(stage, browser, proxy);
    };
    log('one payment to meet the shop, not counted');
    await payOnce(0);
    const samples = ROUND_TRIPS_MS.map((): Sample[] => []);
    // The distances take turns, so that a machine that gets slower or faster does so for both.
    for (let run = 1; run <= runs; run++) {
      for (const [i, roundTripMs] of ROUND_TRIPS_MS.entries()) {
        const sample = await payOnce(roundTripMs);
        samples[i]?.push(sample);
        log(`payment ${run} of ${runs} at ${roundTripMs} ms: ${sample.machineMs.toFixed(0)} ms`);
      }
    }
    const [near, far] = ROUND_TRIPS_MS.map((roundTripMs, i) => figuresOf(roundTripMs, samples[i] ?? []));
    if (near === undefined || far === undefined) throw new Error('two distances are measured');
    return {
      near,
      far,
      ratio: roundMs(far.machine.medianMs / near.machine.medianMs),
      leastAddedMs: ROUNDS * (far.roundTripMs - near.roundTripMs),
      addedMs: roundMs(far.machine.medianMs - near.machine.medianMs),
    };
  } finally {
    await proxy.close();
  }
}

async function playOne(stage: Stage, browser: Browser, proxy: DelayProxy): Promise<Sample> {
  const [shop] = stage.world.shops;
  if (shop === undefined) throw new Error('a world without a shop');
  proxy.takeConnectionCount();
  const heard = listenTo(browser, stage.world.origins.application);
  const page = await fillCart(browser, shop.origin, [PRODUCT.productId]);
  const window = await startPayment(browser, page);
  await allowNames(window);
  await agreeByItself(window);
  const outcome = await untilScreen(window, 'paid', 'not-paid', 'unknown', 'error');
  if (outcome !== 'paid') throw new Error(`the payment ended in ${outcome}: ${await window.locator('main').innerText()}`);
  const { shown, clicked } = await takeMarks(window);
  const { connect, rounds } = await heard();
  await press(window, 'close');
  await page.close();
  if (rounds.length !== ROUNDS) throw new Error(`${rounds.length} rounds between PC and application server instead of ${ROUNDS}`);
  if (proxy.takeConnectionCount() === 0) throw new Error('the browser did not take the detour');
  const [agreed, paid, waited] = [clicked['bill'] ?? NaN, shown['paid'] ?? NaN, (clicked['balance'] ?? NaN) - (shown['balance'] ?? NaN)];
  return {
    machineMs: paid - agreed - waited,
    connectMs: connect.handshakeMs,
    connectAfterConsentMs: Math.max(0, connect.endedAt - agreed),
    roundsMs: rounds.reduce((sum, ms) => sum + ms, 0),
  };
}

/** The browser's own timing of what it asks the application server; it answers once everything asked has been answered. */
function listenTo(browser: Browser, origin: string): () => Promise<{ connect: { handshakeMs: number; endedAt: number }; rounds: number[] }> {
  const asked: Request[] = [];
  const listen = (request: Request): void => {
    if (request.url().startsWith(origin)) asked.push(request);
  };
  browser.context.on('request', listen);
  return async () => {
    browser.context.off('request', listen);
    const [posts, gets] = [asked.filter((request) => request.method() === 'POST'), asked.filter((request) => request.method() === 'GET')];
    for (const request of asked) await request.response();
    const health = gets[0]?.timing();
    if (health === undefined || health.connectStart < 0) throw new Error('the payment used a connection of an earlier one');
    return {
      connect: { handshakeMs: health.connectEnd - health.connectStart, endedAt: health.startTime + health.responseStart },
      rounds: posts.map((request) => request.timing()).map(({ requestStart, responseStart }) => responseStart - requestStart),
    };
  };
}

function figuresOf(roundTripMs: number, samples: readonly Sample[]): PaymentFigures {
  const of = (name: keyof Sample): Summary => summarize(samples.map((sample) => sample[name]));
  const [machine, connectAfterConsent, inRounds] = [of('machineMs'), of('connectAfterConsentMs'), of('roundsMs')];
  return {
    roundTripMs,
    payments: samples.length,
    rounds: ROUNDS,
    machine,
    connect: of('connectMs'),
    connectAfterConsent,
    inRounds,
    shareOfConnectAfterConsent: roundMs(connectAfterConsent.medianMs / machine.medianMs),
    shareOfRounds: roundMs(inRounds.medianMs / machine.medianMs),
  };
}
