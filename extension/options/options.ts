/** First run and settings: enrol, reader, card, each checked for itself; then speech and balance. */
import browser from 'webextension-polyfill';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { DEPLOYMENT, TRUST_ANCHORS } from '../built-in.ts';
import { messageLanguage, t } from '../language.ts';
import { openReaders } from '../ports/browser-readers.ts';
import { createCardWatch, type CardWatch } from '../ports/card-watch.ts';
import { loadIdentity, saveIdentity } from '../store/identity-store.ts';
import { createMemory } from '../store/settings.ts';
import { startCardCheck } from './card-check.ts';
import { createOptionsView, type OptionsView } from './options-view.ts';

async function start(): Promise<void> {
  const memory = createMemory(browser.storage.local, { speech: false, readBalance: DEPLOYMENT.readBalance });
  const [settings, readerName, identity] = await Promise.all([memory.settings(), memory.readerName(), loadIdentity()]);
  const watch = createCardWatch(openReaders(), readerName);
  const verifier = createCertificateVerifier({ anchors: TRUST_ANCHORS, now: null });
  const view = createOptionsView(document.body, {
    settings,
    version: DEPLOYMENT.version,
    enrolled: identity !== undefined,
    enrol: async (code) => {
      // Needed once in a browser's life, and large (PKCS #10 by pkijs).
      const { enrol, normalizeCode } = await import('./enrolment.ts');
      await saveIdentity(await enrol(normalizeCode(code), { origin: DEPLOYMENT.enrolmentOrigin, fetch: (...request) => fetch(...request), verifier }));
    },
    saveSettings: (changed) => memory.saveSettings(changed),
    retry: () => watch.retry(),
  });
  watch.onView = (reader) => view.showReader(reader);
  view.showReader(watch.view);
  view.showCard({ kind: 'waiting' });
  checkCardsWhileLookedAt(watch, view);
  window.addEventListener('pagehide', () => watch.close());
}

/** Only in front: a payment window, or another program, needs the card as soon as it is. */
function checkCardsWhileLookedAt(watch: CardWatch, view: OptionsView): void {
  let check: ReturnType<typeof startCardCheck> | undefined;
  const attend = (): void => {
    const isLookedAt = document.visibilityState === 'visible' && document.hasFocus();
    if (isLookedAt) check ??= startCardCheck(watch, (state) => view.showCard(state));
    else {
      check?.stop();
      check = undefined;
    }
  };
  for (const event of ['focus', 'blur']) window.addEventListener(event, attend);
  document.addEventListener('visibilitychange', attend);
  attend();
}

document.documentElement.lang = messageLanguage();
document.title = `${t('optionsTitle')} - ${t('productName')}`;
void start();
