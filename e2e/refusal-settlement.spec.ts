/** A settlement that is not ours, or whose words were changed on the way: nothing is shown of them, and nothing reaches the card. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { Page } from 'playwright';
import type { FailureCode } from '#protocol/failure.ts';
import { createSigner, parseHeader } from '#protocol/signed.ts';
import { loadSigningIdentity } from '#servers/shared/signing-identity.ts';
import { agreeToAll, fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import { bodyOf, otherwise, resigned, tampered } from '#world/payment.fixture.ts';
import type { Browser } from '#world/browser.ts';
import { recordCard } from './card-record.ts';
import { expect, test, type House } from './house.ts';
import { changeAnswers } from './on-the-way.ts';
import { expectNothingTaken, expectPaid, expectShopTold, whileItCloses } from './outcome.ts';

const JOSE = 'application/jose';
const STATEMENT = 'kessai-statement';

type Change = (jws: string, house: House) => Promise<{ status: number; contentType: string; body: string }>;

const signed = (body: string) => ({ status: 200, contentType: JOSE, body });
/** The field of a statement, changed under a signature that stays as it was. */
const altered = (field: string): Change => (jws) => Promise.resolve(signed(tampered(jws, { [field]: otherwise(bodyOf(jws)[field]) })));

const CASES: readonly { readonly what: string; readonly change: Change; readonly code: FailureCode }[] = [
  { what: 'the amount altered under SIG_APL', change: altered('amountMinor'), code: 'settlement/signature' },
  { what: 'the commands for the card (SPC) replaced', change: (jws) => Promise.resolve(signed(tampered(jws, { spc: [...(bodyOf(jws)['spc'] as unknown[])].reverse() }))), code: 'settlement/signature' },
  {
    what: 'the statement signed by a party that is no settlement',
    change: async (jws, { shop }) => signed(await resigned(jws, {}, createSigner(await loadSigningIdentity(shop.identities.signing.file), () => undefined))),
    code: 'settlement/certificate',
  },
  { what: 'a page of HTML in the place of the statement', change: () => Promise.resolve({ status: 502, contentType: 'text/html', body: '<h1>Bad Gateway</h1>' }), code: 'settlement/unreachable' },
  { what: 'a statement of a megabyte', change: (jws) => Promise.resolve(signed(jws + 'A'.repeat(1024 * 1024))), code: 'settlement/unreachable' },
];

async function agreeToBill(house: House, browser: Browser): Promise<{ page: Page; window: Page }> {
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  await untilScreen(window, 'estimate');
  await press(window, 'primary');
  await untilScreen(window, 'bill');
  return { page, window };
}

for (const { what, change, code } of CASES) {
  test(`${what}: refused as ${code} before anything of it is shown or sent to the card`, async ({ house, browserOfTest: browser }) => {
    const card = recordCard(house.stage.card);
    const { window } = await agreeToBill(house, browser);
    let isChanged = false;
    const onTheWay = await changeAnswers(window, house.stage.world.origins.application, async (body) => {
      if (isChanged || typOf(body) !== STATEMENT) return null;
      isChanged = true;
      return change(body, house);
    });
    await press(window, 'primary');
    await expectNothingTaken(window, { screen: 'error', code });
    expect(onTheWay.changed()).toBe(1);
    expect(card.moneyCommands()).toEqual([]);
    await whileItCloses(window, press(window, 'close'));
  });
}

test('a server with another certificate in the place of the settlement: the browser itself refuses, and nothing reaches the card', async ({ house, browserOfTest: browser }) => {
  const { world, card } = house.stage;
  const record = recordCard(card);
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  await world.servers.get('application')?.stop();
  // A certificate that this very browser trusts, for another name.
  const pem = await readFile(house.shop.identities.web.file, 'latin1');
  let asked = 0;
  const impostor = createServer({ key: pem, cert: pem, minVersion: 'TLSv1.3' }, (_, response) => {
    asked += 1;
    response.end();
  });
  await new Promise<void>((resolve) => impostor.listen(world.ports.application, '127.0.0.1', resolve));
  const window = await startPayment(browser, page);
  try {
    await untilScreen(window, 'estimate');
    await press(window, 'primary');
    await expectNothingTaken(window, { screen: 'error', code: 'settlement/unreachable' });
    expect(asked).toBe(0);
    expect(record.commands()).toEqual([]);
  } finally {
    impostor.closeAllConnections();
    await new Promise((resolve) => impostor.close(resolve));
    await world.restart('application');
  }
  // The same window pays once the real one is back.
  await press(window, 'retry');
  await untilScreen(window, 'estimate');
  expect(await agreeToAll(window)).toBe('paid');
  await expectPaid(house, { page, window, amountMinor: 720n });
});

test('a settlement that goes away before the request: said so, and the shop hears that it failed when the customer gives up', async ({ house, browserOfTest: browser }) => {
  const { world } = house.stage;
  const { page, window } = await agreeToBill(house, browser);
  await world.servers.get('application')?.kill();
  try {
    await press(window, 'primary');
    await expectNothingTaken(window, { screen: 'error', code: 'settlement/unreachable' });
    await whileItCloses(window, press(window, 'close'));
    await expectShopTold(page, 'failed', 'settlement/unreachable');
  } finally {
    await world.restart('application');
  }
});

function typOf(body: string): string | undefined {
  try {
    return parseHeader(body).typ;
  } catch {
    return undefined; // no signed message
  }
}
