/** The other ways to run it: the settlement's three servers merged in one process (0064), and servers that ask for a client certificate or for none. */
import { fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import { openStage } from '#world/stage.ts';
import { readOperations, wrongInAccounts } from './accounts.ts';
import { expect, stageOptions, testWithoutHouse as test } from './house.ts';

for (const { merged, clientCertificates } of [
  { merged: true, clientCertificates: 'requested' },
  { merged: false, clientCertificates: 'none' },
] as const) {
  test(`a payment ${merged ? 'with the merged settlement' : 'with separate servers'}, client certificates ${clientCertificates}, without PC/SC`, async () => {
    const stage = await openStage(stageOptions(`stage-${clientCertificates}`, { reader: 'sim', merged, clientCertificates, openingBalanceMinor: 10_000n }));
    try {
      expect([...stage.world.servers.keys()].filter((name) => name !== 'shop').sort()).toEqual(merged ? ['settlement'] : ['application', 'information', 'security']);
      const browser = await stage.openBrowser();
      const page = await fillCart(browser, stage.world.shops[0]?.origin ?? '', ['sencha']);
      const window = await startPayment(browser, page);
      for (const kind of ['estimate', 'bill', 'balance'] as const) {
        await untilScreen(window, kind);
        await press(window, 'primary');
      }
      await untilScreen(window, 'paid');
      await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'paid');
      expect((await readOperations(stage.world)).at(-1)).toMatchObject({ kind: 'pay', state: 'DONE', amountMinor: 720n });
      expect(stage.card.balanceMinor()).toBe(9_280n);
      await expect.poll(() => wrongInAccounts(stage.world, [stage.card])).toEqual([]);
    } finally {
      await stage.close();
    }
  });
}
