/** The frame of every page of the shop: head, header, footer; and what a page is made from. */
import type { ShopProfile } from '../catalogue.ts';
import { html, type Html } from './html.ts';
import type { Language } from './language.ts';
import { WORDS, type Words } from './words.ts';

/** A file that the shop serves. */
export interface AssetLink {
  /** With its hash in the query, so that it may be kept for ever. */
  readonly href: string;
  /** `sha384-...` (W3C Subresource Integrity). */
  readonly integrity: string;
}

/** What all pages know. */
export interface PageShop {
  readonly profile: ShopProfile;
  /** From the shop's certificate. */
  readonly legalName: string;
  readonly origin: string;
  /** By file name; throws for a file that the shop does not serve. */
  readonly asset: (name: string) => AssetLink;
  /** The interface program (ST5). */
  readonly icCard: AssetLink;
  /** Where a customer gets the extension; null: no address to give. */
  readonly extensionUrl: string | null;
}

export interface PageContext extends PageShop {
  readonly language: Language;
  readonly words: Words;
}

export function pageContext(shop: PageShop, language: Language): PageContext {
  return { ...shop, language, words: WORDS[language] };
}

export interface PageParts {
  readonly title: string;
  readonly main: Html;
  readonly scripts?: readonly AssetLink[];
}

export function renderPage(context: PageContext, { title, main, scripts = [] }: PageParts): string {
  const { profile, language, legalName, origin, words, asset } = context;
  const name = profile.name[language];
  const style = asset('shop.css');
  const mark = asset(profile.mark);
  return html`<!doctype html>
<html lang="${language}" data-shop="${profile.shopId}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${title}</title>
<link rel="icon" href="${mark.href}" type="image/svg+xml">
<link rel="stylesheet" href="${style.href}" integrity="${style.integrity}">
${scripts.map(({ href, integrity }) => html`<script type="module" src="${href}" integrity="${integrity}"></script>\n`)}</head>
<body>
<header class="masthead">
<a class="brand" href="/"><img src="${mark.href}" alt="" width="48" height="48"><span><span class="brand-name">${name}</span><span class="brand-line">${profile.tagline[language]}</span></span></a>
</header>
${main}
<footer class="colophon"><p>${legalName}<br><span class="origin">${origin}</span></p><p>${words.taxIncluded}</p></footer>
</body>
</html>
`.toString();
}
