/** Power cut at any point: the card is wholly before or wholly after a commit, never between. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CardUnderTest, factoryImage, usableCard, walletOf, ZERO_KEY } from './testing-card.ts';
import { Chip } from './chip.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { TestingHost } from './testing-host.ts';
import { VolatileCardMemory } from './card-memory.ts';
import type { CardImage } from './card-image.ts';
import type { ChipEvent } from './chip-event.ts';

/** Loses power at the n-th commit, just before or just after it is permanent. */
class CutMemory extends VolatileCardMemory {
  cut: 'before' | 'after' | 'never' = 'never';

  override async commit(next: CardImage): Promise<void> {
    if (this.cut !== 'before') await super.commit(next);
    if (this.cut !== 'never') throw new Error('power cut');
  }
}

interface Witness {
  readonly balance: number;
  readonly records: number;
  readonly newest: string;
  readonly counter: number;
}

function witness(image: CardImage): Witness {
  let seen: Witness = { balance: 0, records: 0, newest: '', counter: 0 };
  for (const file of walletOf(image).files) {
    if (file.type === 'value') seen = { ...seen, balance: file.value };
    if (file.type === 'cyclic') seen = { ...seen, records: file.records.length, newest: encodeHex(file.records[0] ?? new Uint8Array()) };
    if (file.type === 'transaction-mac') seen = { ...seen, counter: file.counter };
  }
  return seen;
}

const RECORD = parseHex('5A'.repeat(16));
const BEFORE: Witness = { balance: 5000, records: 1, newest: '11'.repeat(16), counter: 0 };
const AFTER: Witness = { balance: 4580, records: 2, newest: '5A'.repeat(16), counter: 1 };

describe('power cut in a payment', () => {
  async function payUntilCut(cut: CutMemory['cut']): Promise<{ memory: CutMemory; chip: Chip }> {
    const memory = new CutMemory(usableCard(factoryImage()));
    const card = new CardUnderTest(undefined, { memory });
    await card.begin(1);
    await card.writeRecord(RECORD);
    await card.debit(420);
    memory.cut = cut;
    const answer = await card.commit();
    expect(answer.status).toBe(cut === 'never' ? 0x9100 : 0x91ee);
    return { memory, chip: card.chip };
  }

  it.each([
    ['before', BEFORE],
    ['after', AFTER],
    ['never', AFTER],
  ] as const)('cut %s the commit is permanent', async (cut, expected) => {
    const { memory, chip } = await payUntilCut(cut);
    memory.cut = 'never';
    await chip.reset();
    expect(witness(memory.image)).toEqual(expected);
    const host = new TestingHost(chip);
    await host.select();
    expect(await host.authenticate(1, ZERO_KEY)).toBe(0x9100);
    expect(encodeHex((await host.send(0x6c, [3], new Uint8Array(), 'mac', 'full')).data)).toBe(expected === BEFORE ? '88130000' : 'E4110000');
  });

  it('before the commit command everything is as it was', async () => {
    const card = new CardUnderTest(usableCard);
    await card.begin(1);
    await card.writeRecord(RECORD);
    await card.debit(420);
    await card.chip.reset();
    expect(witness(card.memory.image)).toEqual(BEFORE);
    await card.begin(1);
    expect((await card.commit()).status).toBe(0x910c);
  });

  it('a failing memory and a bug in the observer are reported, and the card still answers', async () => {
    const events: ChipEvent[] = [];
    const memory = new CutMemory(usableCard(factoryImage()));
    const card = new CardUnderTest(undefined, { memory, observer: (event) => events.push(event) });
    await card.begin(1);
    await card.debit(1);
    memory.cut = 'before';
    expect(await card.commit()).toEqual({ status: 0x91ee, data: new Uint8Array() });
    expect(events.some((event) => event.kind === 'fault')).toBe(true);
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
  });
});

type Step = 'debit' | 'credit' | 'write' | 'read' | 'commit' | 'abort' | 'reset' | 'garbage' | 'first' | 'next' | 'overdraw' | 'cut before' | 'cut after';

const step = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom<Step>('debit', 'credit', 'write', 'read', 'commit') },
  { weight: 3, arbitrary: fc.constantFrom<Step>('abort', 'reset', 'garbage', 'first', 'next', 'overdraw', 'cut before', 'cut after') },
);

/** What the open transaction would change, in the simplest terms. */
interface Pending {
  readonly delta: number;
  readonly record: string | undefined;
  readonly isEmpty: boolean;
}

const NOTHING: Pending = { delta: 0, record: undefined, isEmpty: true };

function committed(before: Witness, { delta, record, isEmpty }: Pending): Witness {
  if (isEmpty) return before;
  const log = record === undefined ? {} : { newest: record, records: Math.min(before.records + 1, 4) };
  return { ...before, ...log, balance: before.balance + delta, counter: before.counter + 1 };
}

/** Plays a card and the model of it side by side. */
class Game {
  readonly #memory = new CutMemory(usableCard(factoryImage()));
  readonly #card = new CardUnderTest(undefined, { memory: this.#memory });
  #expected = witness(this.#memory.image);
  #pending = NOTHING;
  #writes = 0;

  async play(one: Step, garbage: Uint8Array): Promise<void> {
    if (this.#card.host.session === undefined || one === 'first') {
      await this.#card.begin(3);
      this.#pending = NOTHING;
    }
    await this.#moves[one](garbage);
    expect(witness(this.#memory.image)).toEqual(this.#expected);
  }

  readonly #moves: Record<Step, (garbage: Uint8Array) => Promise<void>> = {
    debit: async () => {
      await this.#card.debit(7);
      this.#adds({ delta: this.#pending.delta - 7 });
    },
    credit: async () => {
      await this.#card.credit(3);
      this.#adds({ delta: this.#pending.delta + 3 });
    },
    write: async () => {
      const record = new Uint8Array(16).fill(++this.#writes);
      await this.#card.writeRecord(record);
      this.#adds({ record: encodeHex(record) });
    },
    read: async () => {
      await this.#card.getValue();
      this.#adds({});
    },
    commit: async () => {
      expect((await this.#card.commit()).status).toBe(this.#pending.isEmpty ? 0x910c : 0x9100);
      this.#commits();
    },
    abort: async () => {
      await this.#card.abort();
      this.#pending = NOTHING;
    },
    overdraw: async () => {
      expect((await this.#card.debit(1_000_000)).status).toBe(0x91be);
    },
    next: async () => {
      await this.#card.host.authenticate(3, ZERO_KEY, 0x77);
    },
    reset: () => this.#losesPower(),
    garbage: async (garbage) => {
      await this.#card.chip.process(garbage);
      this.#card.host.session = undefined;
    },
    first: () => Promise.resolve(),
    'cut before': () => this.#cutCommit('before'),
    'cut after': async () => {
      this.#commits();
      await this.#cutCommit('after');
    },
  };

  #adds(change: Partial<Pending>): void {
    this.#pending = { ...this.#pending, ...change, isEmpty: false };
  }

  #commits(): void {
    this.#expected = committed(this.#expected, this.#pending);
    this.#pending = NOTHING;
  }

  async #cutCommit(cut: 'before' | 'after'): Promise<void> {
    this.#memory.cut = cut;
    await this.#card.commit();
    this.#memory.cut = 'never';
    await this.#losesPower();
  }

  async #losesPower(): Promise<void> {
    await this.#card.chip.reset();
    this.#card.host.session = undefined;
  }
}

describe('any sequence of commands', () => {
  it('never makes the chip reject, whatever the bytes', async () => {
    const card = new CardUnderTest(usableCard);
    await card.host.select();
    const native = fc.tuple(fc.constantFrom(0x6c, 0xdc, 0x0c, 0xad, 0x8d, 0xab, 0x8b, 0xc7, 0xc8, 0xa7, 0x71, 0x77, 0xaf, 0x60, 0x51, 0x64, 0xc4, 0x5c, 0x5f, 0xf5, 0xdf, 0xce), fc.uint8Array({ maxLength: 60 }));
    const apdu = fc.oneof(fc.uint8Array({ maxLength: 300 }), native.map(([ins, data]) => new Uint8Array([0x90, ins, 0, 0, data.length, ...data, 0])));
    await fc.assert(
      fc.asyncProperty(fc.array(apdu, { maxLength: 12 }), async (apdus) => {
        const answers = await Promise.all(apdus.map((one) => card.chip.process(one)));
        for (const answer of answers) expect(answer.length >= 2 && answer.length <= 255).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('changes value, log and counter together or not at all', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(step, fc.uint8Array({ maxLength: 20 })), { maxLength: 30 }), async (steps) => {
        const game = new Game();
        for (const [one, garbage] of steps) await game.play(one, garbage);
      }),
      { numRuns: 80 },
    );
  });
});
