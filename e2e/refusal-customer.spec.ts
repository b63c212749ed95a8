/** The customer says no, or cannot pay: nothing is taken, everybody says so, and the card is free for the next payment. */
import { agreeToAll, fillCart, press, startPayment, untilScreen } from '#world/checkout.ts';
import { readOperations } from './accounts.ts';
import { recordCard } from './card-record.ts';
import { expect, test } from './house.ts';
import { expectNothingTaken, expectPaid, expectShopTold, whileItCloses } from './outcome.ts';

test('no at the estimate (ST4): the shop never learns who asked, and nothing reaches the card', async ({ house, browserOfTest: browser }) => {
  const card = recordCard(house.stage.card);
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const asked: string[] = [];
  page.on('request', (request) => asked.push(new URL(request.url()).pathname));
  const window = await startPayment(browser, page);
  await untilScreen(window, 'estimate');
  await press(window, 'cancel');
  await expectNothingTaken(window, { screen: 'not-paid' });
  await expect(window.getByTestId('reason')).toHaveAttribute('data-reason', 'estimate-declined');
  await expectShopTold(page, 'stopped');
  expect(asked).toContain('/kessai/decisions');
  expect(asked).not.toContain('/kessai/bill-requests');
  expect(card.commands()).toEqual([]);
  await whileItCloses(window, press(window, 'close'));
});

test('no at the bill (ST7): the settlement never hears of it, and nothing reaches the card', async ({ house, browserOfTest: browser }) => {
  const card = recordCard(house.stage.card);
  const asked: string[] = [];
  browser.context.on('request', (request) => asked.push(request.url()));
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  await untilScreen(window, 'estimate');
  await press(window, 'primary');
  await untilScreen(window, 'bill');
  await press(window, 'cancel');
  await expectNothingTaken(window, { screen: 'not-paid' });
  await expect(window.getByTestId('reason')).toHaveAttribute('data-reason', 'bill-declined');
  await expectShopTold(page, 'stopped');
  expect(asked.filter((url) => url.startsWith(`${house.stage.world.origins.application}/v1/`))).toEqual([]);
  expect(card.commands()).toEqual([]);
});

test('no at the balance (ST16): nothing is debited, the intent ends as aborted, and the next payment works at once', async ({ house, browserOfTest: browser }) => {
  const card = recordCard(house.stage.card);
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  for (const kind of ['estimate', 'bill'] as const) {
    await untilScreen(window, kind);
    await press(window, 'primary');
  }
  await untilScreen(window, 'balance');
  expect((await readOperations(house.stage.world)).at(-1)).toMatchObject({ state: 'INTENT', amountMinor: 720n });
  await press(window, 'cancel');
  await expectNothingTaken(window, { screen: 'not-paid', money: 'not-taken' });
  await expect(window.getByTestId('reason')).toHaveAttribute('data-reason', 'debit-declined');
  await expectShopTold(page, 'stopped');
  expect(card.moneyCommands()).toEqual([]);
  expect((await readOperations(house.stage.world)).at(-1)).toMatchObject({ state: 'ABORTED', amountMinor: 720n });
  await whileItCloses(window, press(window, 'close'));

  const next = await startPayment(browser, page);
  expect(await agreeToAll(next)).toBe('paid');
  await expectPaid(house, { page, window: next, amountMinor: 720n });
});

test('a balance that is too low is said before any debit, and the card gets no command after the reading', async ({ house, browserOfTest: browser }) => {
  const card = recordCard(house.stage.card);
  const booked = await readOperations(house.stage.world);
  const page = await fillCart(browser, house.shop.origin, Array<string>(16).fill('gyokuro'));
  const window = await startPayment(browser, page);
  expect(await agreeToAll(window)).toBe('not-paid');
  await expectNothingTaken(window, { screen: 'not-paid' });
  await expect(window.getByTestId('reason')).toHaveAttribute('data-reason', 'balance-too-low');
  await expect(window.getByTestId('balance-now')).toHaveText(`JPY\u00a0${house.stage.card.balanceMinor().toLocaleString('en')}`);
  expect(card.commands()).toHaveLength(9);
  expect(card.moneyCommands()).toEqual([]);
  expect(await readOperations(house.stage.world)).toEqual(booked);
  await expectShopTold(page, 'stopped');
});

test('a payment can be stopped while the card is waited for', async ({ house, browserOfTest: browser }) => {
  await house.stage.card.lift();
  const page = await fillCart(browser, house.shop.origin, ['sencha']);
  const window = await startPayment(browser, page);
  for (const kind of ['estimate', 'bill'] as const) {
    await untilScreen(window, kind);
    await press(window, 'primary');
  }
  await expectNothingTaken(window, { screen: 'card' });
  await press(window, 'cancel');
  await expectNothingTaken(window, { screen: 'not-paid' });
  await expectShopTold(page, 'failed', 'payment/aborted');
});
