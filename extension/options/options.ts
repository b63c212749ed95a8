/** First run and settings: enrol, reader, card, each checked for itself; then speech and balance. */
import browser from 'webextension-polyfill';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { DEPLOYMENT, TRUST_ANCHORS } from '../built-in.ts';
import { messageLanguage, t } from '../language.ts';
import { createCardWatch } from '../ports/card-watch.ts';
import { connectNativeHost } from '../ports/native.ts';
import { loadIdentity, saveIdentity } from '../store/identity-store.ts';
import { createMemory } from '../store/settings.ts';
import { createCardCheck } from './card-check.ts';
import { createOptionsView } from './options-view.ts';

async function start(): Promise<void> {
  const memory = createMemory(browser.storage.local, { speech: false, readBalance: DEPLOYMENT.readBalance });
  const [settings, readerName, identity] = await Promise.all([memory.settings(), memory.readerName(), loadIdentity()]);
  const watch = createCardWatch(connectNativeHost, readerName);
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
  const check = createCardCheck(watch, (state) => view.showCard(state));
  // Another program, or a payment window, can have the reader as soon as nobody looks at this page.
  window.addEventListener('pagehide', () => check.stop());
}

document.documentElement.lang = messageLanguage();
document.title = `${t('optionsTitle')} - ${t('productName')}`;
void start();
