/** The payment window: the trusted screen that hosts pay(); it opens for one order of one page and lives as long as that payment. */
import browser from 'webextension-polyfill';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { asFailure, type Failure } from '#protocol/failure.ts';
import { platformRandom } from '#protocol/nonce.ts';
import { createSigner } from '#protocol/signed.ts';
import { parsePaymentRecord, recordKey, type PaymentRecord } from '../background/payment-record.ts';
import { DEPLOYMENT, TRUST_ANCHORS } from '../built-in.ts';
import { openCardPageInTab } from '../card/open-card-page.ts';
import { portName } from '../content/link-messages.ts';
import { messageLanguage } from '../language.ts';
import { openReaders } from '../ports/browser-readers.ts';
import { createCardWatch } from '../ports/card-watch.ts';
import { createSettlement } from '../ports/settlement.ts';
import { openPageLink } from '../ports/shop.ts';
import { openReadersPage } from '../readers/open-readers.ts';
import { createStage } from '../screens/stage.ts';
import { loadIdentity } from '../store/identity-store.ts';
import { createMemory } from '../store/settings.ts';
import { createPaymentJournal } from './payment-journal.ts';
import { createSpeech } from './speech.ts';
import { showFailure, walk, type WindowParts } from './walk.ts';

const now = () => performance.timeOrigin + performance.now();

/** window.close() is for windows that a script opened by itself; this one was opened by the background. */
function closeWindow(): void {
  void browser.windows.getCurrent().then(({ id }) => (id === undefined ? window.close() : browser.windows.remove(id)));
}

async function loadRecord(): Promise<PaymentRecord | undefined> {
  const asked = new URLSearchParams(location.search);
  const key = recordKey(Number(asked.get('tab')));
  const record = parsePaymentRecord((await browser.storage.session.get(key))[key]);
  return record?.paymentId === asked.get('payment') ? record : undefined;
}

/** Read anew before it is written: the background puts the window's number into it. */
async function note(record: PaymentRecord, change: Partial<Pick<PaymentRecord, 'over' | 'agreed'>>): Promise<void> {
  await browser.storage.session.set({ [recordKey(record.tabId)]: { ...((await loadRecord()) ?? record), ...change } });
}

/** The page's own document where the browser can name it: another page in the same tab is not connected to. */
function connectToPage({ tabId, documentId, paymentId }: PaymentRecord): ReturnType<typeof openPageLink> {
  const port = browser.tabs.connect(tabId, { name: portName(paymentId), ...(documentId === undefined ? { frameId: 0 } : { documentId }) });
  // Reading it keeps Chromium from reporting a page that has gone as an error of ours.
  port.onDisconnect.addListener(() => void browser.runtime.lastError);
  return openPageLink(port);
}

async function start(root: HTMLElement): Promise<void> {
  const journal = createPaymentJournal(browser.storage.session);
  const stage = createStage(root, journal.details);
  const record = await loadRecord();
  if (record === undefined) {
    showFailure(stage, { code: 'payment/aborted', step: undefined }, { close: closeWindow });
    return;
  }
  const memory = createMemory(browser.storage.local, { speech: false, readBalance: DEPLOYMENT.readBalance });
  const [settings, readerName, stored] = await Promise.all([memory.settings(), memory.readerName(), loadIdentity()]);
  const link = connectToPage(record);
  const parts: WindowParts = {
    record,
    stage,
    memory,
    settings,
    journal,
    link,
    watch: createCardWatch(openReaders(), readerName),
    settlement: createSettlement(DEPLOYMENT.settlementOrigin, (...request) => fetch(...request)),
    identity:
      stored === undefined
        ? undefined
        : {
            signer: createSigner(stored, journal.tally),
            // The customer's clock is never a reason to refuse; the application server's decides.
            verifier: createCertificateVerifier({ anchors: TRUST_ANCHORS, now: null }),
            tally: journal.tally,
          },
    speech: createSpeech(settings.speech, messageLanguage()),
    now,
    random: platformRandom,
    finished: () => note(record, { over: true }),
    debitAgreed: (agreed) => note(record, { agreed }),
    openSetUp: () => void browser.runtime.openOptionsPage(),
    openReaders: () => void openReadersPage(),
    openCard: () => openCardPageInTab(),
    close: closeWindow,
  };
  await walk(parts);
}

document.documentElement.lang = messageLanguage();
const root = document.body;
start(root).catch((thrown: unknown) => {
  const failure: Failure = asFailure(thrown);
  console.error(failure.cause ?? failure);
  showFailure(createStage(root, () => null), failure, { close: closeWindow });
});
