import * as v from 'valibot';
import { expect, test } from 'vitest';
import { decision } from '#protocol/messages/decision.ts';
import { shopIdSchema } from '#protocol/messages/fields.ts';
import { readShopAssets } from './assets.ts';
import { itemsOf, productsOf, PROFILES } from './catalogue.ts';

test.each(PROFILES)('what $shopId sells can be ordered, named and shown', (profile) => {
  const items = itemsOf(profile);
  const lines = items.map(({ productId }) => ({ productId, quantity: 99 }));
  expect(v.is(decision.schema.entries.lines, lines)).toBe(true);
  expect(v.is(shopIdSchema, profile.shopId)).toBe(true);
  expect(new Set(items.map(({ productId }) => productId)).size).toBe(items.length);
  for (const { unitMinor, title, detail, pictureText } of items) {
    expect(unitMinor).toBeGreaterThan(0n);
    for (const text of [title, detail, pictureText]) expect([text.en, text.ja].every((words) => words.length > 0 && words.length <= 120)).toBe(true);
  }
  expect(productsOf(profile)).toHaveLength(items.length);
  expect([...readShopAssets(profile).keys()]).toEqual(expect.arrayContaining([...items.map(({ picture }) => picture), profile.mark, 'shop.css', 'front-page.js', 'receipt-page.js']));
});

test('pictures are drawings only: no script, no link, nothing from elsewhere', () => {
  for (const profile of PROFILES) {
    for (const [name, { bytes, type }] of readShopAssets(profile)) {
      if (type === 'image/svg+xml') expect([name, bytes.toString('utf8').replaceAll('http://www.w3.org/2000/svg', '')]).toEqual([name, expect.not.stringMatching(/<script|href|style|https?:|<image|<foreignObject|\son\w+=/) as string]);
    }
  }
});
