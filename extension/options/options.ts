/** First run and settings: enrol, reader, card, each checked for itself; then speech and balance. */
import browser from 'webextension-polyfill';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { DEPLOYMENT, TRUST_ANCHORS } from '../built-in.ts';
import { messageLanguage, t } from '../language.ts';
import { parseOneTimeCode } from '../one-time-code.ts';
import { openReaders } from '../ports/browser-readers.ts';
import { createCardWatch, type CardWatch } from '../ports/card-watch.ts';
import { whileLookedAt } from '../ports/looked-at.ts';
import type { Readers } from '../ports/readers.ts';
import { loadIdentity, saveIdentity } from '../store/identity-store.ts';
import { createMemory } from '../store/settings.ts';
import { startCardCheck } from './card-check.ts';
import { createOptionsView, type OptionsView } from './options-view.ts';

async function start(): Promise<void> {
  const memory = createMemory(browser.storage.local, { speech: false, readBalance: DEPLOYMENT.readBalance });
  const [settings, readerName, identity] = await Promise.all([memory.settings(), memory.readerName(), loadIdentity()]);
  const readers = openReaders();
  const watch = createCardWatch(readers, readerName);
  const verifier = createCertificateVerifier({ anchors: TRUST_ANCHORS, now: null });
  const view = createOptionsView(document.body, {
    settings,
    version: DEPLOYMENT.version,
    enrolled: identity !== undefined,
    enrol: async (code) => {
      // Needed once in a browser's life, and large (PKCS #10 by pkijs).
      const { enrol } = await import('./enrolment.ts');
      const oneTimeCode = parseOneTimeCode(code);
      if (oneTimeCode === undefined) throw new Failure('customer/enrolment-code', { detail: 'not of that form' });
      await saveIdentity(await enrol(oneTimeCode, { origin: DEPLOYMENT.enrolmentOrigin, fetch: (...request) => fetch(...request), verifier }));
    },
    saveSettings: (changed) => memory.saveSettings(changed),
    retry: () => watch.retry(),
  });
  view.showReader(watch.view);
  view.showCard({ kind: 'waiting' });
  checkCardsWhileLookedAt(readers, watch, view);
  window.addEventListener('pagehide', () => watch.close());
}

/** Until the browser has listed the readers that it drives. */
const SETTLE_MS = 300;

/** Only in front: a payment window, or another program, needs reader and card as soon as it is. What was seen last stays on the page. */
function checkCardsWhileLookedAt(readers: Readers, watch: CardWatch, view: OptionsView): void {
  let check: ReturnType<typeof startCardCheck> | undefined;
  let settling: ReturnType<typeof setTimeout> | undefined;
  whileLookedAt((isLookedAt) => {
    if (isLookedAt) {
      watch.onView = (reader) => view.showReader(reader);
      readers.attend(true);
      // What has changed meanwhile; not before the browser has listed its readers, which would look like none.
      settling ??= setTimeout(() => view.showReader(watch.view), SETTLE_MS);
      check ??= startCardCheck(watch, (state) => view.showCard(state));
    } else {
      watch.onView = () => undefined;
      check?.stop();
      clearTimeout(settling);
      [check, settling] = [undefined, undefined];
      readers.attend(false);
    }
  });
}

document.documentElement.lang = messageLanguage();
document.title = `${t('optionsTitle')} - ${t('productName')}`;
void start();
