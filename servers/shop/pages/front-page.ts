/** The front page: the goods, the cart, and the button that starts a payment. Its states lie in templates that front-page.js shows. */
import type { CatalogueItem } from '../catalogue.ts';
import { html, type Html } from './html.ts';
import { formatMoney } from './language.ts';
import { renderPage, type PageContext } from './layout.ts';

export function renderFrontPage(context: PageContext): string {
  const { profile, language, words, asset, icCard } = context;
  const main = html`<a class="skip" href="#goods">${words.skip}</a>
<main class="front" id="shop" data-currency="${profile.currency}">
<h1 class="unseen">${profile.name[language]}</h1>
<div class="goods" id="goods" tabindex="-1">
${profile.shelves.map(
  ({ shelfId, title, items }) => html`<section aria-labelledby="shelf-${shelfId}">
<h2 class="shelf" id="shelf-${shelfId}">${title[language]}</h2>
<ul class="shelf-items">${items.map((item) => renderItem(item, context))}</ul>
</section>
`,
)}</div>
${renderCart(context)}
</main>
<nav class="cart-bar" id="cart-bar" aria-label="${words.cart}" hidden><a href="#cart"><span>${words.toCart} <span id="cart-count"></span></span><span id="cart-bar-total" class="money"></span></a></nav>`;
  return renderPage(context, { title: `${profile.name[language]} - ${profile.tagline[language]}`, main, scripts: [icCard, asset('front-page.js')] });
}

function renderItem({ productId, title, detail, unitMinor, picture, pictureText }: CatalogueItem, { profile, language, words, asset }: PageContext): Html {
  return html`
<li class="item" data-product-id="${productId}" data-unit-minor="${unitMinor}" data-title="${title[language]}">
<img src="${asset(picture).href}" alt="${pictureText[language]}" width="320" height="320">
<h3>${title[language]}</h3>
<p class="detail">${detail[language]}</p>
<p class="item-price money">${formatMoney(unitMinor, profile.currency, language)}</p>
<button type="button" class="secondary" id="add-${productId}" data-change="1">${words.add}<span class="unseen">: ${title[language]}</span></button>
</li>`;
}

function renderCart(context: PageContext): Html {
  const { profile, language, words } = context;
  return html`<aside class="cart" id="cart" aria-labelledby="cart-title">
<h2 id="cart-title" tabindex="-1">${words.cart}</h2>
<noscript><p>${words.noScript}</p></noscript>
<p class="quiet" id="cart-empty">${words.cartEmpty}</p>
<ul class="cart-lines" id="cart-lines"></ul>
<template id="cart-line"><li data-cart-line><span class="line-title"></span><span class="line-money money"></span><span class="stepper">${renderStep(-1, words.less)}<span class="line-quantity money"></span>${renderStep(1, words.more)}</span></li></template>
<p class="unseen" id="cart-news" role="status" data-in-cart="${words.inCart}"></p>
<p class="sum"><span>${words.total}</span><output class="money" id="total">${formatMoney(0n, profile.currency, language)}</output></p>
<button type="button" class="primary" id="pay" disabled data-pay="${words.pay}" data-show="${words.payAgain}">${words.pay}</button>
<div class="pay-message" id="pay-message" role="status" data-state="idle"></div>
<p class="quiet" id="pay-how">${words.payHow}</p>
${renderStates(context)}
</aside>`;
}

function renderStep(change: 1 | -1, words: string): Html {
  return html`<button type="button" data-change="${change}"><span aria-hidden="true">${change === 1 ? '+' : '\u2212'}</span><span class="unseen">${words} <span class="line-name"></span></span></button>`;
}

/** `data-fill`: where front-page.js puts what the interface program says. */
function renderStates({ words, extensionUrl }: PageContext): Html {
  const getExtension = extensionUrl !== null && html`<a class="button" href="${extensionUrl}">${words.missingLink}</a>`;
  const version = html`<p>${words.versionNeeded} <strong data-fill="version"></strong></p>`;
  const nothingTaken = html`<p>${words.nothingTaken}</p>`;
  const code = html`<p class="code" data-fill="code"></p>`;
  return html`<template data-state="paying"><p>${words.paying}</p></template>
<template data-state="missing"><h3>${words.missingTitle}</h3><p>${words.missing}</p>${nothingTaken}<p class="choices">${getExtension}<a class="button" href="/">${words.missingReload}</a></p>${code}</template>
<template data-state="version"><h3>${words.versionTitle}</h3><p data-fill="text"></p>${version}${nothingTaken}${getExtension !== false && html`<p class="choices">${getExtension}</p>`}${code}</template>
<template data-state="stopped"><h3>${words.stoppedTitle}</h3><p>${words.stopped}</p></template>
<template data-state="failed"><h3>${words.failedTitle}</h3><p data-fill="text"></p><p>${words.failedMoney}</p>${code}</template>`;
}
