/** Builds elements. Each screen is built once and shown until the next one; nothing here is ever compared or patched, so no framework is needed. */

type Child = Node | string | null | readonly Child[];
type Attribute = string | number | boolean | ((event: Event) => void) | undefined;

/** `h('button', { class: 'primary', onclick: pay }, 'Pay')`. A function is a listener; true an empty attribute; false and undefined none. */
export function h<Tag extends keyof HTMLElementTagNameMap>(tag: Tag, attributes: Record<string, Attribute> = {}, ...children: Child[]): HTMLElementTagNameMap[Tag] {
  const element = document.createElement(tag);
  setAttributes(element, attributes);
  append(element, children);
  return element;
}

const SVG = 'http://www.w3.org/2000/svg';

export type SvgShape = readonly [tag: 'path' | 'rect' | 'circle' | 'g', attributes: Record<string, string | number>, children?: readonly SvgShape[]];

/** A picture that says nothing to a screen reader: the words beside it do. */
export function svg(className: string, viewBox: string, shapes: readonly SvgShape[]): SVGSVGElement {
  const element = document.createElementNS(SVG, 'svg');
  setAttributes(element, { class: className, viewBox, 'aria-hidden': 'true', focusable: 'false' });
  element.append(...shapes.map(shapeOf));
  return element;
}

function shapeOf([tag, attributes, children = []]: SvgShape): SVGElement {
  const element = document.createElementNS(SVG, tag);
  setAttributes(element, attributes);
  element.append(...children.map(shapeOf));
  return element;
}

function setAttributes(element: Element, attributes: Record<string, Attribute>): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name.replace(/^on/, ''), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? '' : String(value));
  }
}

function append(element: Element, children: readonly Child[]): void {
  for (const child of children) {
    if (child === null) continue;
    if (typeof child === 'string' || child instanceof Node) element.append(child);
    else append(element, child);
  }
}
