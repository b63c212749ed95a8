/** The receipt page asks the shop again and again, less and less often, until the order is paid or not; nobody has to reload. */

/** @typedef {{ readonly state: string, readonly decidedAt: string | null, readonly paymentId: string | null }} ReceiptStatus */

const FIRST_INTERVAL_MS = 500;
const LONGEST_INTERVAL_MS = 30_000;
const GROWTH = 1.4;
const ANSWER_LIMIT_MS = 10_000;
/** One lost answer is not worth a word. */
const FAILURES_BEFORE_SAYING_SO = 2;
const CART_KEY = 'kessai-cart';
const PAYING_KEY = 'kessai-paying-order';

/** @param {string} id */
const element = (id) => {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`no #${id}`);
  return found;
};

const receipt = element('receipt');
let intervalMs = FIRST_INTERVAL_MS;
let failures = 0;
/** @type {number | undefined} */
let timer;

const isDecided = () => receipt.dataset['state'] === 'paid' || receipt.dataset['state'] === 'not-paid';

/** @param {ReceiptStatus} status */
function show({ state, decidedAt, paymentId }) {
  if (state === receipt.dataset['state']) return;
  const template = /** @type {HTMLTemplateElement | null} */ (document.querySelector(`template[data-state="${CSS.escape(state)}"]`));
  if (template === null) return;
  element('order-state').replaceChildren(template.content.cloneNode(true));
  element('decided').hidden = decidedAt === null;
  element('decided-at').textContent = decidedAt;
  element('payment').hidden = paymentId === null;
  element('payment-number').textContent = paymentId;
  receipt.dataset['state'] = state;
}

async function ask() {
  try {
    const answer = await fetch(receipt.dataset['status'] ?? '', { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(ANSWER_LIMIT_MS) });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    /** @type {unknown} */
    const status = await answer.json();
    show(/** @type {ReceiptStatus} */ (status));
    failures = 0;
  } catch {
    // The next time may go well; said below when it does not.
    failures += 1;
  }
  const unreachable = element('unreachable');
  unreachable.textContent = failures >= FAILURES_BEFORE_SAYING_SO ? (unreachable.dataset['text'] ?? '') : '';
  emptyPaidCart();
  if (!isDecided()) wait();
}

function wait() {
  // A page that nobody sees asks when it is looked at again.
  if (document.hidden) return;
  clearTimeout(timer);
  timer = setTimeout(() => void ask(), intervalMs);
  intervalMs = Math.min(intervalMs * GROWTH, LONGEST_INTERVAL_MS);
}

/** The cart that this order was made from; not one that has been filled since for another. */
function emptyPaidCart() {
  try {
    if (receipt.dataset['state'] !== 'paid' || sessionStorage.getItem(PAYING_KEY) !== receipt.dataset['orderId']) return;
    sessionStorage.removeItem(CART_KEY);
    sessionStorage.removeItem(PAYING_KEY);
  } catch {
    // No storage, no cart.
  }
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden || isDecided()) return;
  intervalMs = FIRST_INTERVAL_MS;
  wait();
});

emptyPaidCart();
if (!isDecided()) wait();
