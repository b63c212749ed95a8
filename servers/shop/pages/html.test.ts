import fc from 'fast-check';
import { expect, test } from 'vitest';
import { html } from './html.ts';

test('what is put in is text, in elements and in quoted attributes', () => {
  const evil = '"><script>alert(1)</script>\'&';
  expect(html`<p title="${evil}">${evil}</p>`.toString()).toBe(
    '<p title="&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#39;&amp;">&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#39;&amp;</p>',
  );
});

test('no text leaves a character that could begin markup or end an attribute', () => {
  fc.assert(fc.property(fc.string(), (text) => !/[<>"']/.test(html`${text}`.toString())));
});

test('html is put in as it is, lists are joined, and nothing is nothing', () => {
  expect(html`<ul>${[html`<li>${1}</li>`, html`<li>${2n}</li>`]}</ul>${null}${undefined}${false}`.toString()).toBe('<ul><li>1</li><li>2</li></ul>');
});

test('an attribute without quotes is a bug', () => {
  expect(() => html`<p title=${'x'}>`).toThrow('attribute without quotes');
});
