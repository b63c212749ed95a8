/** Puts one screen at a time into the page: keeps the focus in sight, tells a screen reader each change once, and lets no click fall through to the next screen. */
import { failureText, t } from '../language.ts';
import { balanceScreen, cardInvitation, cardScreen, workingScreen } from './card-screens.ts';
import { detailsPart } from './details.ts';
import { h } from './dom.ts';
import { earlierScreen, errorScreen, notPaidScreen, paidScreen, receiptScreen, unknownScreen } from './outcome-screens.ts';
import type { Details, Screen, ScreenKind } from './screen.ts';
import { billScreen, estimateScreen, openingScreen } from './shopping-screens.ts';

/** A click that was meant for the screen before must not agree to this one, nor cancel or close it: its buttons lie at the same place. */
const CLICK_GUARD_MS = 350;

export interface Stage {
  show(screen: Screen): void;
}

/** `details`: asked anew for each screen. */
export function createStage(root: HTMLElement, details: () => Details | null): Stage {
  const live = h('div', { class: 'visually-hidden', role: 'status', 'data-testid': 'live' });
  const place = h('div', { class: 'place' });
  root.replaceChildren(place, live);
  let shown: ScreenKind | undefined;
  let guardedUntil = 0;

  return {
    show: (screen) => {
      const isSame = screen.kind === shown;
      const focused = isSame ? document.activeElement?.getAttribute('data-testid') : undefined;
      const wasOpen = isSame && place.querySelector('details.more')?.hasAttribute('open') === true;
      const element = render(screen);
      const more = details();
      if (more !== null && more.steps.length > 0) element.querySelector('.body')?.append(detailsPart(more, wasOpen));
      place.replaceChildren(element);
      shown = screen.kind;
      if (!isSame) guardedUntil = performance.now() + CLICK_GUARD_MS;
      guard([...element.querySelectorAll<HTMLButtonElement>('.actions button')], guardedUntil - performance.now());
      if (isSame) {
        const again = [...element.querySelectorAll<HTMLElement>('[data-testid]')].find((candidate) => candidate.dataset.testid === focused);
        (again ?? headingOf(element))?.focus();
        live.textContent = changeWithin(screen);
        return;
      }
      live.textContent = '';
      document.title = `${headingOf(element)?.textContent ?? ''} - ${t('productName')}`;
      headingOf(element)?.focus();
      window.scrollTo(0, 0);
    },
  };
}

export function render(screen: Screen): HTMLElement {
  switch (screen.kind) {
    case 'opening':
      return openingScreen(screen);
    case 'estimate':
      return estimateScreen(screen);
    case 'bill':
      return billScreen(screen);
    case 'card':
      return cardScreen(screen);
    case 'working':
      return workingScreen(screen);
    case 'balance':
      return balanceScreen(screen);
    case 'paid':
      return paidScreen(screen);
    case 'receipt':
      return receiptScreen(screen);
    case 'not-paid':
      return notPaidScreen(screen);
    case 'unknown':
      return unknownScreen(screen);
    case 'earlier':
      return earlierScreen(screen);
    case 'error':
      return errorScreen(screen);
  }
}

/** What has changed on a screen that stays: readers come and go. The focus has not moved, so it is said aloud. */
function changeWithin(screen: Screen): string {
  if (screen.kind !== 'card' && screen.kind !== 'unknown') return '';
  const { reader } = screen;
  return reader.problem === null ? cardInvitation(reader) : failureText(reader.problem);
}

function headingOf(element: HTMLElement): HTMLElement | null {
  return element.querySelector('h1');
}

function guard(buttons: readonly HTMLButtonElement[], forMs: number): void {
  if (forMs <= 0) return;
  for (const button of buttons) button.disabled = true;
  setTimeout(() => buttons.forEach((button) => (button.disabled = false)), forMs);
}
