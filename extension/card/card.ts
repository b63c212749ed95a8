/** The page "My card" in its tab: what a card holds, what was last done with it, and the way to make it one's own. */
import browser from 'webextension-polyfill';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { platformRandom } from '#protocol/nonce.ts';
import { link, resolve, type ReadingPorts } from '#protocol/resolve.ts';
import { createSigner } from '#protocol/signed.ts';
import { DEPLOYMENT, TRUST_ANCHORS } from '../built-in.ts';
import { messageLanguage, t } from '../language.ts';
import { openReaders } from '../ports/browser-readers.ts';
import { createCardWatch } from '../ports/card-watch.ts';
import { whileLookedAt } from '../ports/looked-at.ts';
import { createSettlement } from '../ports/settlement.ts';
import { openReadersPage } from '../readers/open-readers.ts';
import { loadIdentity } from '../store/identity-store.ts';
import { createMemory } from '../store/settings.ts';
import { openCardPage, type CardReadings } from './card-page.ts';
import { createCardView } from './card-view.ts';
import { concludeReport } from './conclude.ts';

async function start(): Promise<void> {
  const memory = createMemory(browser.storage.local, { speech: false, readBalance: DEPLOYMENT.readBalance });
  const readers = openReaders();
  // Held once somebody looks at the page.
  readers.attend(false);
  const watch = createCardWatch(readers, await memory.readerName());
  const settlement = createSettlement(DEPLOYMENT.settlementOrigin, (...request) => fetch(...request));
  // The customer's clock is never a reason to refuse; the application server's decides.
  const verifier = createCertificateVerifier({ anchors: TRUST_ANCHORS, now: null });

  const readings = async (): Promise<CardReadings | undefined> => {
    const stored = await loadIdentity();
    if (stored === undefined) return undefined;
    const ports: ReadingPorts = { settlement, identity: { signer: createSigner(stored), verifier }, random: platformRandom };
    return { read: (card) => resolve(card, { about: null, history: true }, ports), link: (card, activationCode) => link(card, activationCode, ports) };
  };
  const view = createCardView(document.body, {
    link: (typedCode) => page.link(typedCode),
    hide: () => page.hide(),
    retry: () => page.retry(),
    choose: (readerName) => {
      page.choose(readerName);
      void memory.saveReaderName(readerName);
    },
    setUpBrowser: () => void browser.runtime.openOptionsPage(),
    setUpReader: () => void openReadersPage(),
  });
  const page = openCardPage({ watch, attendReaders: (isAttended) => readers.attend(isAttended), readings, conclude: (report) => concludeReport(report, memory), now: () => Date.now() }, (state) => view.show(state));
  whileLookedAt((isLookedAt) => page.attend(isLookedAt));
  window.addEventListener('pagehide', () => page.close());
}

document.documentElement.lang = messageLanguage();
document.title = `${t('myCard')} - ${t('productName')}`;
void start();
