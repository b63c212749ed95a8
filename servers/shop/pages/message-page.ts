/** A page that says one thing: there is nothing here, or the shop has a problem. */
import { html } from './html.ts';
import { renderPage, type PageContext } from './layout.ts';

export function renderMessagePage(context: PageContext, { title, text, code }: { readonly title: string; readonly text: string; readonly code?: string }): string {
  const { profile, language, words } = context;
  const main = html`<main class="receipt" id="message">
<h1>${title}</h1>
<p>${text}</p>
${code !== undefined && html`<p class="code">${code}</p>`}
<p class="back"><a class="button" href="/">${words.backToShop}</a></p>
</main>`;
  return renderPage(context, { title: `${title} - ${profile.name[language]}`, main });
}
