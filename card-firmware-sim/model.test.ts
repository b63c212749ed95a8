/** Any sequence of commands that a host can send leaves the chip and a plain model of the card in agreement, on every answer and on everything kept. CARD_MODEL_RUNS raises the number of sequences. */
import fc from 'fast-check';
import { describe, it } from 'vitest';
import { changeWallet, factoryImage } from './testing/card.ts';
import { checksum, KEYS, Pair } from './testing/model/pair.ts';
import { PROFILES } from './profile.ts';
import type { Act, Protection } from './testing/model/pair.ts';
import type { CardFile, CardImage } from './card-image.ts';

const RUNS = Number(process.env['CARD_MODEL_RUNS'] ?? 250);

const u24 = (value: number): number[] => [value & 255, (value >> 8) & 255, value >> 16];
const i32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 255);
const bytes = (length: number): fc.Arbitrary<number[]> => fc.array(fc.nat(255), { minLength: length, maxLength: length });
const some = <const T>(...values: T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

const holder = some(0, 0, 0, 1, 1, 1, 2, 3, 14, 14, 15);
/** Often key 0 may do all, so that sequences get far. */
const rightsOf = fc.oneof({ weight: 2, arbitrary: fc.record({ read: holder, write: holder, readWrite: holder, change: holder }) }, { weight: 1, arbitrary: fc.constant({ read: 0, write: 0, readWrite: 0, change: 0 }) });
const fileNumber = (usual: number): fc.Arbitrary<number> => fc.oneof({ weight: 9, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: some(0, 1, 3, 4, 9, 15, 31) });

interface Wire {
  readonly instruction: number;
  readonly header: number[];
  readonly data: number[];
}
const wire = (instruction: number, ...parts: readonly fc.Arbitrary<number[]>[]): fc.Arbitrary<Wire> =>
  fc.tuple(...parts).map(([header = [], data = []]) => ({ instruction, header, data }));
const none = fc.constant<number[]>([]);

const change = (instruction: number): fc.Arbitrary<Wire> => wire(instruction, fileNumber(3).map((file) => [file]), some(0, 1, 7, 40, 60, 5000, -1, 0x7fffffff).map(i32));
const range = (usual: number, most: number): fc.Arbitrary<[number, number, number]> => fc.tuple(fileNumber(usual), fc.nat(most), fc.nat(most));
const read = (instruction: number, usual: number, most: number): fc.Arbitrary<Wire> =>
  range(usual, most).map(([file, first, second]) => ({ instruction, header: [file, ...u24(first), ...u24(second)], data: [] }));

/** Writes at an offset; now and then the length in the header is not that of the data. */
function write(instruction: number, usual: number, before: fc.Arbitrary<number[]>): fc.Arbitrary<Wire> {
  const parts = fc.tuple(fileNumber(usual), before, some(0, 0, 1, 5, 15, 255), fc.oneof(bytes(16), bytes(1), bytes(11), none), some(0, 0, 0, 0, 0, 1));
  return parts.map(([file, numbers, offset, data, more]) => ({ instruction, header: [file, ...numbers, ...u24(offset), ...u24(data.length + more)], data }));
}

const wallet: fc.Arbitrary<Wire> = fc.oneof(
  change(0x0c),
  change(0xdc),
  change(0x1c),
  wire(0x6c, fileNumber(3).map((file) => [file])),
  read(0xab, 1, 5),
  write(0x8b, 1, none),
  write(0xba, 1, fc.nat(3).map(u24)),
  wire(0xeb, fileNumber(1).map((file) => [file])),
  read(0xad, 15, 14),
  read(0xad, 4, 270),
  write(0x8d, 4, none),
  wire(0xc7, none, some<readonly number[]>([], [0], [1], [1], [2]).map((option) => [...option])),
  wire(0xc7, none, fc.constant([1])),
  wire(0xa7, none),
  wire(0xc8, none, fc.oneof(bytes(16), bytes(15))),
);

const keyNumber = fc.nat(5);
const knownKey = fc.nat(KEYS.length - 1);
const changedKey: fc.Arbitrary<Wire> = fc.tuple(keyNumber, knownKey, knownKey, fc.boolean()).map(([keyNo, next, old, isRight]) => {
  const value = KEYS[next]!;
  if (keyNo === 0) return { instruction: 0xc4, header: [keyNo], data: [...value, 7] };
  const difference = value.map((byte, i) => byte ^ KEYS[old]![i]!);
  return { instruction: 0xc4, header: [keyNo], data: [...difference, 7, ...(isRight ? checksum(value) : [1, 2, 3, 4])] };
});

const settings = fc.tuple(some(0, 1, 3, 3, 32, 35, 64), rightsOf, some(0, 1, 3), fc.boolean());
const changedSettings: fc.Arbitrary<Wire> = fc.tuple(some(0, 1, 3, 4, 15, 9), settings).map(([file, [option, rights, limit, isForMac]]) => ({
  instruction: 0x5f,
  header: [file],
  data: [option, (rights.readWrite << 4) | rights.change, (rights.read << 4) | (isForMac ? 15 : rights.write), ...(option >= 32 && option < 64 ? i32(limit) : [])],
}));

const configured: fc.Arbitrary<Wire> = fc
  .oneof(
    fc.tuple(fc.constant(0x09), fc.tuple(some(3, 3, 1), some(0, -5), some(100, 9000), some(0, 50), fc.nat(4)).map(([file, lower, upper, value, option]) => [file, ...i32(lower), ...i32(upper), ...i32(value), option])),
    fc.tuple(fc.constant(0x0a), fc.tuple(fc.nat(2), fc.nat(3), fc.nat(2)).map(([option, limit, decrement]) => [option, limit, 0, decrement, 0])),
    fc.tuple(fc.constant(0x06), fc.tuple(some(0x81, 0x90, 0x80, 0x05), bytes(16), some(0xdf02, 0x3f00)).map(([length, name, id]) => [length, ...name, id & 255, id >> 8])),
    fc.tuple(fc.constant(0x05), fc.tuple(some(0, 0, 2), bytes(2)).map(([lrp, tail]) => [0, 0, 0, 0, lrp, 0, 0, 0, ...tail])),
    fc.tuple(some(0x00, 0x04, 0x02, 0x0b), some<readonly number[]>([0], [2], [1], [0, 0], [0, 4]).map((data) => [...data])),
  )
  .map(([option, data]) => ({ instruction: 0x5c, header: [option], data }));

const management: fc.Arbitrary<Wire> = fc.oneof(
  some(0x60, 0x51, 0x6f, 0x61, 0xfe, 0xbd).map((instruction) => ({ instruction, header: [], data: [] })),
  wire(0xf5, fileNumber(3).map((file) => [file])),
  wire(0x64, keyNumber.map((keyNo) => [keyNo])),
  changedKey,
  changedSettings,
  configured,
  wire(0xdf, fileNumber(15).map((file) => [file])),
  wire(0xce, fc.tuple(some(15, 15, 7, 40), some(3, 0, 64), some(0x10, 0xf0, 0xe0, 0x70), some(0x1f, 0xef, 0x11), some(2, 2, 2, 1)).map((header) => [...header]), bytes(17)),
);

const protection = fc.oneof(
  { weight: 20, arbitrary: fc.constant<Protection>('as asked') },
  { weight: 3, arbitrary: some<Protection>('plain', 'mac', 'full', 'wrong MAC', 'sent twice') },
);

const command = fc.tuple(fc.oneof({ weight: 5, arbitrary: wallet }, { weight: 2, arbitrary: management }), protection).map(([wired, how]): Act => ({ does: 'command', ...wired, protection: how }));
const authentication: fc.Arbitrary<Act> = fc.record({
  does: fc.constant('authenticate' as const),
  isFirst: some(true, true, false),
  keyNo: some(0, 0, 1, 1, 1, 2, 3, 5),
  key: some(0, 0, 0, 0, 0, 0, 1, 2),
  then: some('prove', 'prove', 'prove', 'prove', 'prove', 'send too little', 'leave it'),
});
const selection: fc.Arbitrary<Act> = some('application', 'application', 'with FCI', 'factory name', 'card', 'file', 'file', 'no such file', 'read binary').map((what) => ({ does: 'select', what }) as const);
const oddity: fc.Arbitrary<Act> = fc.oneof(
  some(0, 0, 0, 1, 32).map((length): Act => ({ does: 'frame', bytes: length })),
  some('90', '9060010000', '9060000001', '906000000100', '90FE0000000001').map((apdu): Act => ({ does: 'garble', apdu })),
  some(10, 30, 100).map((ms): Act => ({ does: 'wait', ms })),
  fc.constant<Act>({ does: 'lose the field' }),
);
const beginning = some(0, 0, 1, 1, 2).map((keyNo): Act => ({ does: 'begin', keyNo }));
const act = fc.oneof({ weight: 30, arbitrary: command }, { weight: 15, arbitrary: beginning }, { weight: 2, arbitrary: authentication }, { weight: 1, arbitrary: selection }, { weight: 2, arbitrary: oddity });
/** What meets in the one spare slot of a record file. */
const recordChange: fc.Arbitrary<Wire> = fc.oneof(
  fc.nat(2).map((number) => ({ instruction: 0xba, header: [1, ...u24(number), 0, 0, 0, 2, 0, 0], data: [7, number] })),
  fc.constant<Wire>({ instruction: 0x8b, header: [1, 0, 0, 0, 2, 0, 0], data: [8, 8] }),
  fc.constant<Wire>({ instruction: 0xeb, header: [1], data: [] }),
);
/** As a host means it: changes and reads, a reader id where the card wants one, and the commit. */
const transaction = fc
  .tuple(fc.array(fc.oneof({ weight: 3, arbitrary: wallet }, { weight: 1, arbitrary: recordChange }), { minLength: 1, maxLength: 3 }), fc.boolean())
  .map(([wired, hasReaderId]): Act[] => {
    const readerId = hasReaderId ? [{ instruction: 0xc8, header: [], data: new Array<number>(16).fill(9) }] : [];
    const commands = [...wired, ...readerId, { instruction: 0xc7, header: [], data: [1] }];
    return [{ does: 'begin', keyNo: 0 }, ...commands.map((one): Act => ({ does: 'command', ...one, protection: 'as asked' }))];
  });
const sequence = fc
  .array(fc.oneof({ weight: 6, arbitrary: act.map((one) => [one]) }, { weight: 1, arbitrary: transaction }), { maxLength: 40, size: 'max' })
  .map((chunks) => chunks.flat());

const recipe = fc.record({
  isFactory: some(false, false, false, true),
  rights: fc.array(rightsOf, { minLength: 6, maxLength: 6 }),
  modes: fc.array(some(0, 1, 3, 3), { minLength: 6, maxLength: 6 }),
  counterLimit: some(undefined, undefined, 2),
  hasMacFile: some(true, true, true, false),
  records: fc.nat(4),
  freeGetValue: fc.boolean(),
  /** Failed authentications that lock a key. */
  limit: some(1000, 3),
});

function cardOf({ isFactory, rights, modes, counterLimit, hasMacFile, records, freeGetValue, limit }: typeof recipe extends fc.Arbitrary<infer R> ? R : never): CardImage {
  const image = factoryImage();
  if (isFactory) return image;
  const changed = (file: CardFile, index: number): CardFile => {
    const common = { mode: modes[index]!, rights: { ...rights[index]!, ...(file.type === 'transaction-mac' ? { write: 15 } : {}) } };
    if (file.type === 'value') return { ...file, ...common, value: 5000, upper: 5100, limitedCredit: 20, freeGetValue };
    if (file.type === 'cyclic') return { ...file, ...common, records: Array.from({ length: records }, (_, i) => new Uint8Array(16).fill(i)) };
    return file.type === 'transaction-mac' ? { ...file, ...common, counterLimit } : { ...file, ...common };
  };
  const configuration = { ...image.picc.configuration, failedAuthentications: { isCounted: true, limit, decrement: 1 } };
  return { ...changeWallet(image, (one) => ({ ...one, files: one.files.map(changed).filter(({ type }) => hasMacFile || type !== 'transaction-mac') })), picc: { ...image.picc, configuration } };
}

/** Both sides of every point that published documents leave open. */
const openPoints = fc.record({
  onInterruption: some('abort', 'abort', 'start-anew'),
  emptyTransaction: some('NO_CHANGES', 'OPERATION_OK'),
  openValue: some('committed', 'shadow'),
  firstAuthentication: some('aborts-transaction', 'keeps-transaction'),
  limitedCreditLeft: some('nothing', 'the-rest'),
  valueOptionShown: some('both', 'limited-credit'),
  counterLimitShown: fc.boolean(),
  authenticationDelay: some(undefined, { afterFailures: 50, stepMs: 25 }, { afterFailures: 2, stepMs: 25 }),
});

describe('chip and model', () => {
  it('agree on every answer and everything kept, after any sequence of commands', async () => {
    await fc.assert(
      fc.asyncProperty(recipe, openPoints, sequence, async (prepared, options, acts) => {
        const pair = new Pair(cardOf(prepared), { ...PROFILES.light, ...options });
        for (const one of acts) await pair.play(one);
      }),
      { numRuns: RUNS },
    );
  }, 600_000);
});
