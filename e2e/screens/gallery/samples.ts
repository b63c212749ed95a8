/** One sample of every screen, and of the states in which it looks different. */
import type { BillView, DebitView, NotPaidReason } from '#protocol/parties.ts';
import type { Details, Screen } from '../../../extension/screens/screen.ts';
import type { ReaderView } from '../../../extension/ports/card-watch.ts';
import type { OpenPayment } from '../../../extension/store/bill-record.ts';

export type Answered = (answer: string) => void;

const DIGEST = 'wRFUQh0WEvNDPkGlfTGGZpXCnEXlh0gL6XUJ4rHfWfM';
/** 22 November 2026, 12:34 in Greenwich. */
const AT = Date.UTC(2026, 10, 22, 12, 34);

const bill: BillView = {
  shop: { shopId: 'hanamaru', legalName: 'Hanamaru Books Ltd', origin: 'https://shop.example' },
  lines: [
    { name: 'Sencha from Uji, 80 g', quantity: 1, lineMinor: 700n },
    { name: 'Postcards, set of five', quantity: 2, lineMinor: 500n },
  ],
  totalMinor: 1200n,
  currency: 'JPY',
  orderId: '2026-0137',
  billId: 'bill-0137',
  amountMinor: 1200n,
  expiresAt: 0,
  billDigest: DIGEST,
};

const longBill: BillView = {
  ...bill,
  shop: { shopId: 'kissa', legalName: 'Kabushiki Kaisha Yamanote Antiquarian Booksellers and Tea Merchants', origin: 'https://antiquarian-books-and-tea.yamanote.shop.example:8443' },
  currency: 'EUR',
  amountMinor: 2147483647n,
  totalMinor: 2147483647n,
};

const debit: DebitView = { bill, paymentId: '5f0c2d1e-8a67-4b8e-9a53-0d3f9d3f7c11', cardId: '04A1B2C3D4E5F6', balance: { beforeMinor: 10_000n, afterMinor: 8_800n }, statementDigest: DIGEST };
const openPayment: OpenPayment = { paymentId: debit.paymentId, cardId: debit.cardId, at: AT, bill };

const ready: ReaderView = { readers: [{ name: 'SONY FeliCa RC-S300/P', state: 'empty' }], chosen: null, problem: null, starting: false };
const several: ReaderView = {
  readers: [
    { name: 'SONY FeliCa RC-S300/P', state: 'empty' },
    { name: 'ACS ACR1252 1S CL Reader PICC 0', state: 'in-use' },
    { name: 'HID Global OMNIKEY 5022', state: 'mute' },
  ],
  chosen: 'SONY FeliCa RC-S300/P',
  problem: null,
  starting: false,
};
const denied = (...others: ReaderView['readers']): ReaderView => ({ readers: [{ name: 'SONY FeliCa RC-S300/P', state: 'empty', problem: 'reader/permission' }, ...others], chosen: null, problem: others.length === 0 ? 'reader/permission' : null, starting: false });
const blocked = (problem: NonNullable<ReaderView['problem']>): ReaderView => ({ readers: [], chosen: null, problem, starting: false });

export const DETAILS: Details = {
  steps: [
    { step: 'ST1', party: 'extension', at: AT, ms: 4.2 },
    { step: 'ST2', party: 'extension', at: AT, ms: 21 },
    { step: 'ST4', party: 'extension', at: AT, ms: 34 },
    { step: 'ST6', party: 'extension', at: AT, ms: 0.3 },
  ],
  verified: ['kessai-shop-statement', 'kessai-estimate', 'kessai-bill'],
};

/** `answered` is told which button was pressed. */
export function createSamples(answered: Answered): Record<string, Screen> {
  const act = (answer: string) => () => answered(answer);
  const asking = { agree: act('agree'), cancel: act('cancel') };
  const waiting = (reader: ReaderView) => ({ reader, choose: act('choose'), retry: act('retry'), setUpReader: act('set-up-reader') });
  const notPaid = (reason: NotPaidReason | 'stopped', balanceMinor: bigint | null = null): Screen => ({ kind: 'not-paid', bill: balanceMinor === null ? null : bill, reason, balanceMinor, close: act('close') });
  return {
    opening: { kind: 'opening', origin: bill.shop.origin, cancel: act('cancel') },
    estimate: { kind: 'estimate', view: bill, ...asking },
    bill: { kind: 'bill', view: bill, firstPayment: false, minutesLeft: null, ...asking },
    'bill-first': { kind: 'bill', view: bill, firstPayment: true, minutesLeft: 2, ...asking },
    'bill-long': { kind: 'bill', view: longBill, firstPayment: true, minutesLeft: 1, ...asking },
    card: { kind: 'card', bill, again: null, ...waiting(ready), cancel: act('cancel') },
    'card-starting': { kind: 'card', bill, again: null, ...waiting({ readers: [], chosen: null, problem: null, starting: true }), cancel: act('cancel') },
    'card-several': { kind: 'card', bill, again: null, ...waiting(several), cancel: act('cancel') },
    'card-again': { kind: 'card', bill, again: 'card/removed', ...waiting(ready), cancel: act('cancel') },
    'card-no-host': { kind: 'card', bill, again: null, ...waiting(blocked('host/missing')), cancel: act('cancel') },
    'card-old-host': { kind: 'card', bill, again: null, ...waiting(blocked('host/version')), cancel: act('cancel') },
    'card-denied': { kind: 'card', bill, again: null, ...waiting(denied()), cancel: act('cancel') },
    'card-one-denied': { kind: 'card', bill, again: null, ...waiting(denied({ name: 'DynaFlex', state: 'empty' })), cancel: act('cancel') },
    'card-no-service': { kind: 'card', bill, again: null, ...waiting(blocked('reader/no-service')), cancel: act('cancel') },
    'card-no-reader': { kind: 'card', bill, again: null, ...waiting(blocked('reader/none')), cancel: act('cancel') },
    reading: { kind: 'working', bill, phase: 'reading', done: 6, of: 13, cancel: act('cancel') },
    paying: { kind: 'working', bill, phase: 'paying', done: 9, of: 13, cancel: null },
    settling: { kind: 'working', bill, phase: 'settling', done: 6, of: 9, cancel: null },
    balance: { kind: 'balance', view: debit, ...asking },
    'balance-long': { kind: 'balance', view: { ...debit, bill: longBill, balance: { beforeMinor: 2147483647n, afterMinor: 0n } }, ...asking },
    'balance-hidden': { kind: 'balance', view: { ...debit, balance: null }, ...asking },
    paid: { kind: 'paid', bill, paymentId: debit.paymentId, balanceAfterMinor: 8_800n, at: AT, showReceipt: act('receipt'), showCard: act('my-card'), close: act('close') },
    receipt: { kind: 'receipt', bill, paymentId: debit.paymentId, balanceAfterMinor: 8_800n, at: AT, print: act('print'), back: act('back') },
    'not-paid-estimate': notPaid('estimate-declined'),
    'not-paid-bill': notPaid('bill-declined'),
    'not-paid-debit': notPaid('debit-declined', 10_000n),
    'not-paid-balance': notPaid('balance-too-low', 900n),
    'not-paid-reading': notPaid('not-debited', 10_000n),
    'not-paid-stopped': notPaid('stopped'),
    unknown: { kind: 'unknown', payment: openPayment, failure: 'card/removed', ...waiting(ready), later: act('later') },
    'unknown-offline': { kind: 'unknown', payment: openPayment, failure: 'settlement/unreachable', ...waiting(several), later: act('later') },
    earlier: { kind: 'earlier', payment: openPayment, settle: act('settle'), later: act('later') },
    'error-forged': { kind: 'error', shop: bill.shop, code: 'settlement/signature', step: 'ST15', money: { kind: 'untouched' }, retry: null, setUp: null, showCard: null, close: act('close') },
    'error-retry': { kind: 'error', shop: null, code: 'settlement/unreachable', step: 'ST7', money: { kind: 'untouched' }, retry: act('retry'), setUp: null, showCard: null, close: act('close') },
    'error-set-up': { kind: 'error', shop: null, code: 'customer/not-enrolled', step: null, money: { kind: 'untouched' }, retry: null, setUp: act('set-up'), showCard: null, close: act('close') },
    'error-not-linked': { kind: 'error', shop: bill.shop, code: 'customer/card-not-linked', step: 'ST9', money: { kind: 'untouched' }, retry: act('retry'), setUp: null, showCard: act('my-card'), close: act('close') },
  };
}
