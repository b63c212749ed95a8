/** The page "My card" in the states in which it looks different. */
import type { CardRecords } from '#protocol/messages/card-record.ts';
import type { FailureCode } from '#protocol/failure.ts';
import type { CardPageState, ShownCard } from '../../../extension/card/card-state.ts';
import type { ReaderView } from '../../../extension/ports/card-watch.ts';
import type { CardName } from './card-names.ts';

/** 22 November 2026, 12:34 in Greenwich. */
const AT = Date.UTC(2026, 10, 22, 12, 34);

type CardRecord = CardRecords[number];

let records = 0;
function record(known: CardRecord['known'], amountMinor: bigint, hoursAgo: number): CardRecord {
  return { operationId: String(++records).padStart(16, '0'), amountMinor, timeSeconds: AT / 1000 - Math.round(hoursAgo * 3600), known };
}
const paid = (shopName: string | null, amountMinor: bigint, hoursAgo: number, outcome: NonNullable<CardRecord['known']>['outcome'] = 'done'): CardRecord => record({ kind: 'pay', outcome, shopName }, amountMinor, hoursAgo);

const history: CardRecords = [
  paid('Hanamaru Books Ltd', 1820n, 0.2),
  paid('Kabushiki Kaisha Yamanote Antiquarian Booksellers and Tea Merchants', 640n, 26, 'refund-due'),
  record({ kind: 'refund', outcome: 'done', shopName: 'Hanamaru Books Ltd' }, 480n, 49),
  record({ kind: 'load', outcome: 'done', shopName: null }, 10_000n, 120),
  record(null, 300n, 290),
  record({ kind: 'issue', outcome: 'done', shopName: null }, 0n, 700),
];

const card: ShownCard = { cardId: '04A1B2C3D4E5F6', balanceMinor: 7_740n, card: { state: 'active', currency: 'JPY', limitMinor: 50_000n }, records: history, decided: [], readAt: AT, isNew: false };

const felica = 'SONY FeliCa RC-S300/P';
const views = (readers: ReaderView['readers'], changes: Partial<ReaderView> = {}): ReaderView => ({ readers, chosen: null, problem: null, starting: false, ...changes });
const empty = views([{ name: felica, state: 'empty' }]);
const lying = views([{ name: felica, state: 'present' }]);
const several = views([{ name: felica, state: 'empty' }, { name: 'ACS ACR1252 1S CL Reader PICC 0', state: 'in-use' }, { name: 'HID Global OMNIKEY 5022', state: 'mute' }], { chosen: felica });

const waiting = (reader: ReaderView, failure: FailureCode | null = null, isHidden = false): CardPageState => ({ kind: 'waiting', reader, failure, isHidden });
const shown = (changes: Partial<ShownCard> = {}, isLifted = false): CardPageState => ({ kind: 'shown', shown: { ...card, ...changes }, isLifted });
const notLinked = (changes: Partial<Extract<CardPageState, { kind: 'not-linked' }>> = {}): CardPageState => ({ kind: 'not-linked', reader: lying, failure: null, work: 'none', ...changes });

export function createCardSamples(): Record<CardName, CardPageState> {
  return {
    'my-card-starting': { kind: 'starting' },
    'my-card-not-enrolled': { kind: 'not-enrolled' },
    'my-card-waiting': waiting(empty),
    'my-card-several': waiting(several),
    'my-card-no-reader': waiting(views([], { problem: 'reader/none' })),
    'my-card-no-program': waiting(views([], { problem: 'host/missing' })),
    'my-card-denied': waiting(views([{ name: felica, state: 'empty', problem: 'reader/permission' }], { problem: 'reader/permission' })),
    'my-card-reading': { kind: 'reading', done: 6 },
    'my-card-shown': shown(),
    'my-card-long': shown({ balanceMinor: 2147483647n, card: { state: 'active', currency: 'EUR', limitMinor: 2147483647n }, records: [paid('Kabushiki Kaisha Yamanote Antiquarian Booksellers and Tea Merchants', 2147483647n, 1, 'open'), ...history.slice(3)] }),
    'my-card-empty': shown({ balanceMinor: 0n, records: [] }),
    'my-card-lifted': shown({}, true),
    'my-card-decided': shown({
      decided: [
        { amountMinor: 1820n, outcome: 'paid', shopName: 'Hanamaru Books Ltd' },
        { amountMinor: 480n, outcome: 'not-paid', shopName: null },
      ],
    }),
    'my-card-blocked': shown({ card: { ...card.card, state: 'blocked' } }),
    'my-card-hidden': waiting(lying, null, true),
    'my-card-removed': waiting(empty, 'card/removed'),
    'my-card-offline': waiting(lying, 'settlement/unreachable'),
    'my-card-unknown-browser': waiting(lying, 'customer/unknown'),
    'my-card-not-linked': notLinked(),
    'my-card-wrong-code': notLinked({ failure: 'customer/activation-code' }),
    'my-card-link-waits': notLinked({ reader: empty, work: 'waiting' }),
    'my-card-linking': notLinked({ work: 'linking' }),
    'my-card-linked': shown({ isNew: true, records: history.slice(-1), balanceMinor: 0n }),
  };
}
