/** Cards that a shop's customers may have as well: a DESFire EV2 and EV3, each paid with over a road of its own, and re-keyed in the middle of their lives. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Browser } from '#world/browser.ts';
import { fillCart, press, startPayment, untilScreen, type ScreenKind } from '#world/checkout.ts';
import { openStage, type Stage } from '#world/stage.ts';
import { readOperations, wrongInAccounts } from './accounts.ts';
import { expect, stageOptions, testWithoutHouse as test } from './house.ts';

const run = promisify(execFile);

async function pay(stage: Stage, browser: Browser, questions: readonly ScreenKind[] = ['bill', 'balance']): Promise<void> {
  const page = await fillCart(browser, stage.world.shops[0]?.origin ?? '', ['sencha']);
  const window = await startPayment(browser, page);
  for (const kind of questions) {
    await untilScreen(window, kind);
    await press(window, 'primary');
  }
  await untilScreen(window, 'paid');
  await expect(page.locator('#receipt')).toHaveAttribute('data-state', 'paid');
  await press(window, 'close');
}

for (const { card, reader } of [
  { card: 'ev2', reader: 'rc-s300' },
  { card: 'ev3', reader: 'sim' },
] as const) {
  test(`a DESFire ${card.toUpperCase()} pays, gets newer keys in its next payment, and pays with them`, async () => {
    const stage = await openStage(stageOptions(`stage-${card}`, { card, reader, merged: true, openingBalanceMinor: 10_000n }));
    try {
      const browser = await stage.openBrowser();
      // The first payment at a shop asks about its estimate too.
      await pay(stage, browser, ['estimate', 'bill', 'balance']);
      await run(process.execPath, ['--import', 'tsx', 'commands/master-keys.ts', '--add-version', '--folder', stage.world.folder]);
      await pay(stage, browser);
      await pay(stage, browser);
      expect((await readOperations(stage.world)).map(({ kind, state }) => `${kind} ${state}`)).toEqual(['issue DONE', 'load DONE', 'pay DONE', 'pay DONE', 'pay DONE']);
      expect(stage.card.keyVersions()).toEqual([2, 2, 2, 2, 2]);
      expect(stage.card.balanceMinor()).toBe(10_000n - 3n * 720n);
      await expect.poll(() => wrongInAccounts(stage.world, [stage.card])).toEqual([]);
    } finally {
      await stage.close();
    }
  });
}
