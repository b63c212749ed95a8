/** Text that is HTML already, and the template tag that makes it: whatever is put in is escaped, so that no name of a product becomes markup. */

/** Made by `html` only. */
export class Html {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

/** `false`, null and undefined put in nothing, so that `condition && html` works. */
export type HtmlPart = Html | string | number | bigint | false | null | undefined | readonly HtmlPart[];

const ESCAPES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Attribute values must stand in quotes: without them a blank would end the value, and escaping would not help. */
export function html(strings: TemplateStringsArray, ...parts: readonly HtmlPart[]): Html {
  const [first = '', ...rest] = strings;
  let text = first;
  rest.forEach((string, i) => {
    if (/=\s*$/.test(text)) throw new Error(`html: attribute without quotes before part ${i}`);
    text += render(parts[i]) + string;
  });
  return new Html(text);
}

function render(part: HtmlPart): string {
  if (part instanceof Html) return part.toString();
  if (part === false || part === null || part === undefined) return '';
  if (typeof part === 'object') return part.map(render).join('');
  return String(part).replaceAll(/[&<>"']/g, (character) => ESCAPES[character] ?? '');
}
