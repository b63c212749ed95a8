/** The same payment in the two languages of the product, chosen by the browser alone. */
import { join } from 'node:path';
import { agreeToAll, fillCart, startPayment } from '#world/checkout.ts';
import english from '../extension/_locales/en/messages.json' with { type: 'json' };
import japanese from '../extension/_locales/ja/messages.json' with { type: 'json' };
import { expect, PICTURES, test } from './house.ts';
import { expectPaid } from './outcome.ts';

const LANGUAGES = {
  en: { messages: english, display: 'code', script: /^[^\u3040-\u30ff\u4e00-\u9fff]*$/ },
  ja: { messages: japanese, display: 'name', script: /[\u3040-\u30ff]/ },
} as const;

for (const [language, { messages, display, script }] of Object.entries(LANGUAGES) as [keyof typeof LANGUAGES, (typeof LANGUAGES)['en' | 'ja']][]) {
  test(`${language}: words and amounts of shop and window are written in it`, async ({ house, openBrowser }) => {
    const browser = await openBrowser({ language });
    const page = await fillCart(browser, house.shop.origin, ['book-of-tea', 'sencha']);
    const sum = new Intl.NumberFormat(language, { style: 'currency', currency: 'JPY', currencyDisplay: display }).format(1820);
    await expect(page.locator('html')).toHaveAttribute('lang', language);
    await expect(page.locator('#total')).toHaveText(sum);
    const window = await startPayment(browser, page);
    const outcome = await agreeToAll(window, async (kind) => {
      await expect(window.locator('html')).toHaveAttribute('lang', language);
      // Blanks between figures and unit are typography.
      const amount = (await window.getByTestId('amount').innerText()).replaceAll(/\s/g, '');
      expect(amount).toBe(sum.replaceAll(/\s/g, ''));
      expect(await window.locator('.body > p, .foot, button').allInnerTexts()).toEqual(expect.arrayContaining([expect.stringMatching(script)]));
      const money = (await window.getByTestId('money').innerText()).replaceAll(/\s/g, '');
      const sentence = kind === 'paid' ? messages.moneyTakenShopTold.message.replace('$1', sum) : messages.moneyUntouched.message;
      expect(money).toBe(sentence.replaceAll(/\s/g, ''));
      await window.screenshot({ path: join(PICTURES, `${kind}-${language}.png`) });
    });
    expect(outcome).toBe('paid');
    await expectPaid(house, { page, window, amountMinor: 1820n });
    await expect(page.locator('#order-amount')).toHaveText(sum);
  });
}
