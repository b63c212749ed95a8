/** The human of a measurement: agrees to every screen of a payment window as soon as its button lets it, and notes when both happened. */
import type { Page } from 'playwright';

/** Epoch milliseconds with fraction, by screen. */
interface Marks {
  readonly shown: Record<string, number>;
  readonly clicked: Record<string, number>;
}

/** From now on; the screen that is shown already is agreed to as well. */
export function agreeByItself(window: Page): Promise<void> {
  return window.evaluate(() => {
    const marks: Marks = { shown: {}, clicked: {} };
    Object.assign(globalThis, { kessaiBench: marks });
    const look = (): void => {
      const kind = document.querySelector<HTMLElement>('[data-screen]')?.dataset['screen'] ?? '';
      if (kind !== '') marks.shown[kind] ??= performance.timeOrigin + performance.now();
      const button = document.querySelector<HTMLButtonElement>('button.primary');
      if (!['estimate', 'bill', 'balance'].includes(kind) || button === null || button.disabled || marks.clicked[kind] !== undefined) return;
      marks.clicked[kind] = performance.timeOrigin + performance.now();
      button.click();
    };
    new MutationObserver(look).observe(document, { childList: true, subtree: true, attributes: true });
    look();
  });
}

export function takeMarks(window: Page): Promise<Marks> {
  return window.evaluate(() => (globalThis as unknown as { kessaiBench: Marks }).kessaiBench);
}

/** Functions that run in a page keep the calls by which tsx gives them their names. */
export async function allowNames(...pages: readonly Page[]): Promise<void> {
  for (const page of pages) await page.evaluate('globalThis.__name = (named) => named');
}
