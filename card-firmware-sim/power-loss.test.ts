/** Power cut at any point: the card is wholly before or wholly after a commit, never between. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CardUnderTest, factoryImage, NONE, usableCard, walletOf, ZERO_KEY } from './testing/card.ts';
import { DF_NAME_SELECT } from './testing/host.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { TEAR_NAMES } from './memory/testing-eeprom.ts';
import { TearableCard } from './testing/tearable-card.ts';
import type { CardImage } from './card-image.ts';
import type { ChipEvent } from './chip-event.ts';
import type { Tear } from './memory/testing-eeprom.ts';

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

/** A payment of 420 that is ready to commit. */
async function payable(observer?: (event: ChipEvent) => void): Promise<TearableCard> {
  const torn = await TearableCard.insert(usableCard(factoryImage()), observer && { observer });
  await torn.card.begin(1);
  await torn.card.writeRecord(RECORD);
  await torn.card.debit(420);
  return torn;
}

describe('power cut in a payment', () => {
  it.each([
    ['before the first write of the commit', 1, 'before', BEFORE],
    ['before the head of the journal is whole', 3, 'first byte written', BEFORE],
    ['after the head of the journal', 3, 'after', AFTER],
    ['after the last write of the commit', 5, 'after', AFTER],
    ['when all is written', 6, 'before', AFTER],
  ] as const)('%s: the card says so', async (_, write, tear, expected) => {
    const torn = await payable();
    torn.eeprom.cutAt(write, tear);
    expect((await torn.card.commit()).status).toBe(write === 6 ? 0x9100 : 0x91ee);
    await torn.powerUp();
    expect(witness(torn.image)).toEqual(expected);
    await torn.card.begin(1);
    expect(encodeHex((await torn.card.getValue()).data)).toBe(expected === BEFORE ? '88130000' : 'E4110000');
  });

  it('before the commit command everything is as it was', async () => {
    const { card } = await payable();
    await card.chip.reset();
    expect(witness(card.memory.image)).toEqual(BEFORE);
    await card.begin(1);
    expect((await card.commit()).status).toBe(0x910c);
  });

  it('until the power is back the chip knows nothing, and says nothing that might be wrong', async () => {
    const events: ChipEvent[] = [];
    const torn = await payable((event) => events.push(event));
    torn.eeprom.cutAt(4, 'garbage');
    expect(await torn.card.commit()).toEqual({ status: 0x91ee, data: NONE });
    expect(events.some((event) => event.kind === 'fault')).toBe(true);
    expect(() => torn.image).toThrow('without power');
    for (const instruction of [0x6c, 0x60, 0x71, 0x6f]) expect((await torn.card.host.native(instruction, new Uint8Array([0, 0]))).status).not.toBe(0x9100);
    expect(encodeHex(await torn.card.chip.process(parseHex(DF_NAME_SELECT)))).toBe('6581');
    await torn.card.chip.reset();
    expect(encodeHex(await torn.card.chip.process(parseHex(DF_NAME_SELECT)))).toBe('6581');
    await torn.powerUp();
    expect(witness(torn.image)).toEqual(AFTER);
  });

  it('the same chip answers again once the field is back, also when the power went again while it recovered', async () => {
    const torn = await payable();
    torn.eeprom.cutAt(4, 'garbage');
    expect((await torn.card.commit()).status).toBe(0x91ee);
    torn.eeprom.powerUp();
    torn.eeprom.cutAt(1, 'garbage');
    await torn.card.chip.reset();
    expect(encodeHex(await torn.card.chip.process(parseHex(DF_NAME_SELECT)))).toBe('6581');
    torn.eeprom.powerUp();
    await torn.card.chip.reset();
    expect(witness(torn.image)).toEqual(AFTER);
    await torn.card.begin(1);
    await torn.card.debit(80);
    expect((await torn.card.commit()).status).toBe(0x9100);
    expect(witness(torn.image)).toMatchObject({ balance: 4500, counter: 2 });
    await torn.powerUp();
    expect(witness(torn.image)).toMatchObject({ balance: 4500, counter: 2 });
  });
});

type Step = 'debit' | 'credit' | 'write' | 'read' | 'commit' | 'abort' | 'reset' | 'garbage' | 'first' | 'next' | 'overdraw' | 'cut';

const step = fc.oneof(
  { weight: 12, arbitrary: fc.constantFrom<Step>('debit', 'credit', 'write', 'read', 'commit') },
  { weight: 3, arbitrary: fc.constantFrom<Step>('abort', 'reset', 'garbage', 'first', 'next', 'overdraw') },
  { weight: 4, arbitrary: fc.constant<Step>('cut') },
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

/** What chance says of one step: bytes to send, and where and how the power goes. */
interface Chance {
  readonly garbage: Uint8Array;
  readonly write: number;
  readonly tear: Tear;
}

/** Plays a card and the model of it side by side. */
class Game {
  readonly #torn: TearableCard;
  #expected: Witness;
  #pending = NOTHING;
  #writes = 0;
  cuts = { old: 0, new: 0 };

  private constructor(torn: TearableCard) {
    this.#torn = torn;
    this.#expected = witness(torn.image);
  }

  static async begin(): Promise<Game> {
    return new Game(await TearableCard.insert(usableCard(factoryImage())));
  }

  get #card(): CardUnderTest {
    return this.#torn.card;
  }

  async play(one: Step, chance: Chance): Promise<void> {
    if (this.#card.host.session === undefined || one === 'first') {
      await this.#card.begin(3);
      this.#pending = NOTHING;
    }
    await this.#moves[one](chance);
    expect(witness(this.#torn.image)).toEqual(this.#expected);
  }

  readonly #moves: Record<Step, (chance: Chance) => Promise<void>> = {
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
    garbage: async ({ garbage }) => {
      await this.#card.chip.process(garbage);
      this.#card.host.session = undefined;
    },
    first: () => Promise.resolve(),
    cut: async (chance) => {
      // There is always something that can be lost.
      await this.#moves.debit(chance);
      await this.#cutCommit(chance);
    },
  };

  #adds(change: Partial<Pending>): void {
    this.#pending = { ...this.#pending, ...change, isEmpty: false };
  }

  #commits(): void {
    this.#expected = committed(this.#expected, this.#pending);
    this.#pending = NOTHING;
  }

  async #cutCommit({ write, tear }: Chance): Promise<void> {
    const [old, next] = [this.#expected, committed(this.#expected, this.#pending)];
    this.#torn.eeprom.cutAt(write, tear);
    const { status } = await this.#card.commit();
    const isCut = !this.#torn.eeprom.hasPower;
    await this.#torn.powerUp();
    this.#expected = witness(this.#torn.image);
    this.#pending = NOTHING;
    // What was acknowledged must be there; of what was cut, all or nothing.
    if (!isCut) expect([status, this.#expected]).toEqual([0x9100, next]);
    else expect([old, next]).toContainEqual(this.#expected);
    if (isCut) this.cuts[this.#expected.counter === old.counter ? 'old' : 'new']++;
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
    const cuts = { old: 0, new: 0 };
    const chance = fc.record({ garbage: fc.uint8Array({ maxLength: 20 }), write: fc.integer({ min: 1, max: 8 }), tear: fc.constantFrom<Tear>(...TEAR_NAMES) });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(step, chance), { maxLength: 30, size: 'max' }), async (steps) => {
        const game = await Game.begin();
        for (const [one, chosen] of steps) await game.play(one, chosen);
        cuts.old += game.cuts.old;
        cuts.new += game.cuts.new;
      }),
      { numRuns: 80 },
    );
    expect(cuts.old).toBeGreaterThan(5);
    expect(cuts.new).toBeGreaterThan(5);
    process.stdout.write(`cut in any sequence of commands: ${JSON.stringify(cuts)}\n`);
  });
});
