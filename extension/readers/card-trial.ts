/** Tries a reader with whatever card is put on it: reads what any card tells everybody, measures the round trip, writes nothing. */
import { responseData, statusWord, wrapNative, type CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { openContact, selectWallet } from '#protocol/card-contact.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import type { Card } from '#protocol/parties.ts';
import type { ReaderSource } from '#bridge/reader-source.ts';
import { createCard } from '../ports/card.ts';

export interface TrialResult {
  /** `payment`: the wallet of our cards answered. `desfire`: a relative of it. `other`: takes commands and is neither. */
  readonly card: 'payment' | 'desfire' | 'other';
  /** `random`: a 4-byte number, new at each contact; `none`: the card does not tell. */
  readonly uid: '7-byte' | 'random' | 'none';
  /** Last four digits of a payment card's number; shown, never reported. */
  readonly ending: string | null;
  /** Median of `rounds` single commands, from this page to the card and back. */
  readonly medianMs: number;
  readonly rounds: number;
}

export interface TrialParts {
  readonly source: ReaderSource;
  readonly readerName: string;
  readonly signal: AbortSignal;
  readonly now: () => number;
  /** The card is open. */
  readonly onCard: () => void;
}

const ROUNDS = 9;
const MORE = 0x91af;
const GET_VERSION: readonly CardCommand[] = [
  { apdu: wrapNative(0x60), expectedStatus: MORE },
  { apdu: wrapNative(0xaf), expectedStatus: MORE },
  { apdu: wrapNative(0xaf), expectedStatus: 0x9100 },
];
/** GetVersion, byte 1 (AN12343): DESFire, DESFire Light; the upper half may mark a native implementation. */
const DESFIRE_TYPES = [0x01, 0x08];
const NXP = 0x04;

/** Waits for a card on that reader, tries it, lets go of it. Fails with `payment/aborted` when stopped, `reader/none` when the reader goes, or as the card does. */
export async function tryCard(parts: TrialParts): Promise<TrialResult> {
  await cardPresent(parts);
  const channel = await parts.source.connect(parts.readerName, parts.signal);
  const card = createCard(channel, parts.source, () => undefined);
  try {
    parts.onCard();
    const seen = await identify(card);
    return { ...seen, ...(await measure(card, parts.now)) };
  } finally {
    await card.close();
  }
}

function cardPresent({ source, readerName, signal }: TrialParts): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      const reader = source.readers.find(({ name }) => name === readerName);
      if (signal.aborted) end(() => reject(new Failure('payment/aborted')));
      else if (source.problem !== undefined) end(() => reject(source.problem ?? new Failure('reader/failed')));
      else if (reader === undefined) end(() => reject(new Failure('reader/none')));
      // What lies there answered, and not as a card that takes commands: another card may.
      else if (reader.problem !== undefined) end(() => reject(new Failure(reader.problem ?? 'reader/failed')));
      else if (reader.state === 'in-use') end(() => reject(new Failure('reader/in-use')));
      else if (reader.state === 'mute') end(() => reject(new Failure('card/silent')));
      else if (reader.state === 'present') end(resolve);
    };
    const stop = source.onReaders(look);
    const end = (settle: () => void): void => {
      stop();
      signal.removeEventListener('abort', look);
      settle();
    };
    signal.addEventListener('abort', look);
    look();
  });
}

async function identify(card: Card): Promise<Pick<TrialResult, 'card' | 'uid' | 'ending'>> {
  try {
    // Asks for a challenge and leaves it unanswered: all that tells our cards from a factory-fresh one.
    const { cardId } = await openContact(card, 1);
    return { card: 'payment', uid: '7-byte', ending: cardId.slice(-4) };
  } catch (thrown) {
    if (asFailure(thrown).code !== 'card/unsupported') throw thrown;
  }
  const [hardware, , production] = await card.transmit('identify', GET_VERSION);
  return { card: hardware !== undefined && isDesfire(hardware) ? 'desfire' : 'other', uid: production === undefined ? 'none' : uidKind(production), ending: null };
}

/** Vendor, type; the frames that follow are announced by 91AF. */
function isDesfire(hardware: Bytes): boolean {
  const [vendor, type = 0] = responseData(hardware);
  return statusWord(hardware) === MORE && vendor === NXP && DESFIRE_TYPES.includes(type & 0x0f);
}

/** Frame 3 begins with the UID; zeros where the card shows a random one (AN12343, random ID). */
function uidKind(production: Bytes): TrialResult['uid'] {
  const data = responseData(production);
  if (data.length < 7) return 'none';
  return data.subarray(0, 7).every((byte) => byte === 0) ? 'random' : '7-byte';
}

/** Selecting the wallet changes nothing on any card, and every card answers it, if only with a refusal. */
async function measure(card: Card, now: () => number): Promise<Pick<TrialResult, 'medianMs' | 'rounds'>> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const startedAt = now();
    await card.transmit('identify', [selectWallet()]);
    times.push(now() - startedAt);
  }
  return { medianMs: times.sort((one, other) => one - other)[(ROUNDS - 1) / 2] ?? 0, rounds: ROUNDS };
}
