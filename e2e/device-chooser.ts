/** The browser's own dialog for choosing a device, as a person uses it by keyboard: no page and no debugger reaches it. */
import type { Page } from 'playwright';
import type { VirtualDisplay } from '#world/virtual-display.ts';

/** A key that does nothing anywhere: who hears it has the keyboard. */
const PROBE_KEY = 'Shift_L';
/** Longer than a page takes to hear a key on a busy machine. */
const HEARING_MS = 500;
const LIMIT_MS = 10_000;
/** Longer than the dialog takes to close: keys that are pressed once more must not reach the page. */
const CLOSING_LIMIT_MS = 3_000;
const ATTEMPTS = 3;

export interface DeviceChooser {
  /** Takes the only device on the list. */
  choose(): Promise<void>;
  cancel(): Promise<void>;
}

/** Presses the button, and is there when the dialog has the keyboard; throws when none comes. */
export async function openChooser(display: VirtualDisplay, page: Page, press: () => Promise<void>): Promise<DeviceChooser> {
  if (!(await becomes(true, display, page))) throw new Error('the page does not hear the keyboard');
  await press();
  if (!(await becomes(false, display, page))) throw new Error('the browser shows no dialog');
  return {
    choose: async () => {
      // The focus begins on "Cancel"; the list comes next.
      await display.pressKeys(['Tab']);
      // The list may still be empty: then these keys do nothing.
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        await display.pressKeys(['Down', 'Return']);
        if (await becomes(true, display, page, CLOSING_LIMIT_MS)) return;
      }
      throw new Error('no device could be chosen: is there one on the list?');
    },
    cancel: async () => {
      await display.pressKeys(['Escape']);
      if (!(await becomes(true, display, page))) throw new Error('the dialog does not close');
    },
  };
}

async function becomes(heard: boolean, display: VirtualDisplay, page: Page, limitMs = LIMIT_MS): Promise<boolean> {
  const endsAt = performance.now() + limitMs;
  while (performance.now() < endsAt) if ((await hearsKeys(display, page)) === heard) return true;
  return false;
}

/** Whether a key that is pressed now arrives in the page: not while the dialog is there. */
async function hearsKeys(display: VirtualDisplay, page: Page): Promise<boolean> {
  const hearing = await page.evaluateHandle(
    (limitMs) => ({
      heard: new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => end(false), limitMs);
        const hear = (): void => end(true);
        const end = (heard: boolean): void => {
          clearTimeout(timer);
          document.removeEventListener('keydown', hear);
          resolve(heard);
        };
        document.addEventListener('keydown', hear);
      }),
    }),
    HEARING_MS,
  );
  await display.pressKeys([PROBE_KEY]);
  const heard = await hearing.evaluate(({ heard: told }) => told);
  await hearing.dispose();
  return heard;
}
