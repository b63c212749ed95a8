/** The front page's cart, and its one call of `icCard.pay`. The cart lives in this tab; prices are the page's, and the shop's signed estimate decides. */

/** @typedef {{ readonly outcome: 'paid' | 'not-paid' | 'unknown', readonly orderId?: string }} Receipt */
/** @typedef {{ readonly pay: (order: { lines: { productId: string, quantity: number }[] }) => Promise<Receipt> }} IcCard */

const CART_KEY = 'kessai-cart';
const PAYING_KEY = 'kessai-paying-order';
const MAX_QUANTITY = 99;

/** @param {string} id */
const element = (id) => {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no #${id}`);
  return found;
};

const shop = element('shop');
const payButton = /** @type {HTMLButtonElement} */ (element('pay'));
const lineTemplate = /** @type {HTMLTemplateElement} */ (element('cart-line'));
const { lang } = document.documentElement;
const currency = shop.dataset['currency'] ?? '';
const numberFormat = new Intl.NumberFormat(lang, { style: 'currency', currency, currencyDisplay: lang === 'ja' ? 'name' : 'code' });
const minorPerMajor = 10 ** (numberFormat.resolvedOptions().maximumFractionDigits ?? 0);

/** @type {Map<string, { readonly title: string, readonly unitMinor: number }>} */
const products = new Map();
for (const item of document.querySelectorAll('[data-product-id]')) {
  const { productId = '', unitMinor, title = '' } = /** @type {HTMLElement} */ (item).dataset;
  products.set(productId, { title, unitMinor: Number(unitMinor) });
}

/** Product to quantity, in the order in which they were added. */
const cart = readCart();
let isPaying = false;
/** The bar leads to the cart, and would cover it. */
let isCartInView = false;

function readCart() {
  /** @type {Map<string, number>} */
  const quantities = new Map();
  try {
    const stored = /** @type {unknown} */ (JSON.parse(sessionStorage.getItem(CART_KEY) ?? '[]'));
    for (const [productId, quantity] of /** @type {[string, number][]} */ (stored)) {
      if (products.has(productId) && Number.isInteger(quantity) && quantity >= 1 && quantity <= MAX_QUANTITY) quantities.set(productId, quantity);
    }
  } catch {
    // Storage that is switched off or holds something else is an empty cart.
  }
  return quantities;
}

function storeCart() {
  try {
    sessionStorage.setItem(CART_KEY, JSON.stringify([...cart]));
  } catch {
    // Without storage the cart lives as long as the page.
  }
}

/** @param {number} amountMinor */
const money = (amountMinor) => numberFormat.format(amountMinor / minorPerMajor);

/**
 * @param {string} productId
 * @param {number} change
 */
function changeCart(productId, change) {
  const product = products.get(productId);
  if (product === undefined || isPaying) return;
  const quantity = Math.min((cart.get(productId) ?? 0) + change, MAX_QUANTITY);
  if (quantity > 0) cart.set(productId, quantity);
  else cart.delete(productId);
  storeCart();
  showCart();
  const news = element('cart-news');
  news.textContent = `${product.title}, ${news.dataset['inCart'] ?? ''} ${quantity}`;
}

function showCart() {
  const lines = element('cart-lines');
  const existing = new Map([...lines.children].map((line) => [/** @type {HTMLElement} */ (line).dataset['cartLine'], line]));
  let total = 0;
  let count = 0;
  for (const [productId, quantity] of cart) {
    const product = products.get(productId);
    if (product === undefined) continue;
    total += product.unitMinor * quantity;
    count += quantity;
    const line = existing.get(productId) ?? lines.appendChild(newLine(productId, product.title));
    existing.delete(productId);
    fill(line, '.line-quantity', String(quantity));
    fill(line, '.line-money', money(product.unitMinor * quantity));
  }
  for (const line of existing.values()) removeLine(line);
  element('total').textContent = money(total);
  element('cart-empty').hidden = count > 0;
  element('cart-bar').hidden = count === 0 || isCartInView;
  element('cart-count').textContent = String(count);
  element('cart-bar-total').textContent = money(total);
  payButton.disabled = count === 0;
}

/**
 * @param {string} productId
 * @param {string} title
 */
function newLine(productId, title) {
  const line = /** @type {HTMLElement} */ (/** @type {DocumentFragment} */ (lineTemplate.content.cloneNode(true)).firstElementChild);
  line.dataset['cartLine'] = productId;
  fill(line, '.line-title', title);
  for (const name of line.querySelectorAll('.line-name')) name.textContent = title;
  return line;
}

/** The focus is not lost with the line that held it. @param {Element} line */
function removeLine(line) {
  const hadFocus = line.contains(document.activeElement);
  const neighbour = line.nextElementSibling ?? line.previousElementSibling;
  line.remove();
  if (hadFocus) /** @type {HTMLElement} */ (neighbour?.querySelector('button') ?? element('cart-title')).focus();
}

/**
 * @param {Element} parent
 * @param {string} selector
 * @param {string} text
 */
function fill(parent, selector, text) {
  for (const place of parent.querySelectorAll(selector)) place.textContent = text;
}

/**
 * Shows a state of the payment; what nobody fills is taken away.
 * @param {string} state
 * @param {Readonly<Record<string, string | undefined>>} [texts]
 */
function showState(state, texts = {}) {
  const message = element('pay-message');
  const template = /** @type {HTMLTemplateElement | null} */ (document.querySelector(`template[data-state="${state}"]`));
  const content = /** @type {DocumentFragment | undefined} */ (template?.content.cloneNode(true));
  for (const place of content?.querySelectorAll('[data-fill]') ?? []) {
    const text = texts[/** @type {HTMLElement} */ (place).dataset['fill'] ?? ''];
    if (text === undefined) (place.tagName === 'STRONG' ? place.parentElement : place)?.remove();
    else place.textContent = text;
  }
  message.dataset['state'] = state;
  message.replaceChildren(...(content === undefined ? [] : [content]));
  message.scrollIntoView({ block: 'nearest' });
}

/** @param {unknown} error */
function showFailure(error) {
  const { code, text, neededVersion } = /** @type {{ code?: string, text?: string, neededVersion?: string }} */ (error ?? {});
  const state = code === 'extension/missing' ? 'missing' : code === 'shop/version' ? 'version' : 'failed';
  showState(state, { text, version: neededVersion, code: code ?? 'internal/bug' });
}

/** @param {boolean} paying */
function setPaying(paying) {
  isPaying = paying;
  element('cart').classList.toggle('is-paying', paying);
  payButton.textContent = (paying ? payButton.dataset['show'] : payButton.dataset['pay']) ?? '';
  for (const button of document.querySelectorAll('[data-change]')) /** @type {HTMLButtonElement} */ (button).disabled = paying;
}

/** In the handler of a click: without one the extension does nothing. */
async function pay() {
  const { icCard } = /** @type {{ icCard?: IcCard }} */ (globalThis);
  const lines = [...cart].map(([productId, quantity]) => ({ productId, quantity }));
  if (icCard === undefined) {
    showFailure({ code: 'shop/unreachable' });
    return;
  }
  if (isPaying) {
    // The same payment: the interface program brings its window to the front. Its end is handled below.
    icCard.pay({ lines }).catch(() => undefined);
    return;
  }
  setPaying(true);
  showState('paying');
  try {
    const { outcome, orderId } = await icCard.pay({ lines });
    if (orderId !== undefined && outcome !== 'not-paid') {
      rememberOrder(orderId);
      location.assign(`/orders/${encodeURIComponent(orderId)}`);
      return;
    }
    // Only an outcome that says so is worth the sentence that nothing was taken.
    showState(outcome === 'not-paid' ? 'stopped' : 'failed');
  } catch (error) {
    showFailure(error);
  }
  setPaying(false);
  showCart();
}

/** The receipt page empties the cart when this order is paid. @param {string} orderId */
function rememberOrder(orderId) {
  try {
    sessionStorage.setItem(PAYING_KEY, orderId);
  } catch {
    // The cart then stays as it is.
  }
}

document.addEventListener('click', (event) => {
  const button = /** @type {Element} */ (event.target).closest('[data-change]');
  if (button === null) return;
  const owner = /** @type {HTMLElement | null} */ (button.closest('[data-product-id], [data-cart-line]'));
  changeCart(owner?.dataset['productId'] ?? owner?.dataset['cartLine'] ?? '', Number(/** @type {HTMLElement} */ (button).dataset['change']));
});
payButton.addEventListener('click', () => void pay());
// Back from the receipt page: the browser shows this page as it was, the cart may be empty by now.
window.addEventListener('pageshow', (event) => {
  if (event.persisted) location.reload();
});

new IntersectionObserver((entries) => {
  isCartInView = entries.at(-1)?.isIntersecting ?? false;
  showCart();
}).observe(element('cart'));
showCart();
