/** For tests only: any card image that a card could hold. */
import fc from 'fast-check';
import { COMM_MODE } from '../secure-messaging.ts';
import type { AccessRights, CardApplication, CardFile, CardImage, CardKey, RecordFile } from '../card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';

const bytes = (length: number): fc.Arbitrary<Bytes> => fc.uint8Array({ minLength: length, maxLength: length }).map((one) => new Uint8Array(one));
const uint = (bits: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: 2 ** bits - 1 });
const maybe = <T>(one: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(one, { nil: undefined });

const key: fc.Arbitrary<CardKey> = fc.record({ value: bytes(16), version: uint(8), failures: uint(32), failuresInARow: uint(8) });

function rights(keyCount: number): fc.Arbitrary<AccessRights> {
  const condition = fc.constantFrom(...Array.from({ length: keyCount }, (_, index) => index), 0xe, 0xf);
  return fc.record({ read: condition, write: condition, readWrite: condition, change: condition });
}

function file(keyCount: number): fc.Arbitrary<CardFile> {
  const common = { number: fc.integer({ min: 0, max: 0x1f }), mode: fc.constantFrom(...Object.values(COMM_MODE)), rights: rights(keyCount) };
  const content = { ...common, isoId: maybe(uint(16)), content: fc.integer({ min: 1, max: 200 }).chain(bytes) };
  const int32 = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
  const value = fc
    .record({ ...common, bounds: fc.tuple(int32, int32, int32), limitedCredit: uint(32), limitedCreditEnabled: fc.boolean(), freeGetValue: fc.boolean(), configured: fc.boolean() })
    .map(({ bounds, ...rest }) => {
      const [lower, middle, upper] = bounds.toSorted((a, b) => a - b) as [number, number, number];
      return { ...rest, type: 'value' as const, lower, value: middle, upper };
    });
  const records = (type: 'linear' | 'cyclic'): fc.Arbitrary<RecordFile> =>
    fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 2, max: 9 })).chain(([recordBytes, maxRecords]) =>
      fc.record({
        ...common,
        type: fc.constant(type as 'linear'),
        isoId: maybe(uint(16)),
        recordBytes: fc.constant(recordBytes),
        maxRecords: fc.constant(maxRecords),
        records: fc.array(bytes(recordBytes), { maxLength: type === 'cyclic' ? maxRecords - 1 : maxRecords }),
      }),
    );
  const mac = fc
    .record({ ...common, appTmKey: bytes(16), keyVersion: uint(8), counter: uint(32), tmv: bytes(8), readerId: bytes(16), counterLimit: maybe(uint(32)) })
    .map((one) => ({ ...one, type: 'transaction-mac' as const, rights: { ...one.rights, write: 0xf } }));
  return fc.oneof(fc.record({ ...content, type: fc.constant('standard' as const) }), fc.record({ ...content, type: fc.constant('backup' as const) }), value, records('linear'), records('cyclic'), mac);
}

function files(keyCount: number): fc.Arbitrary<CardFile[]> {
  return fc.uniqueArray(file(keyCount), { selector: (one) => one.number, maxLength: 6 }).map((all) => {
    const mac = all.find((one) => one.type === 'transaction-mac');
    return all.filter((one) => one.type !== 'transaction-mac' || one === mac);
  });
}

function application(aid: fc.Arbitrary<number | undefined>, keyCounts: fc.Arbitrary<number>): fc.Arbitrary<CardApplication> {
  return keyCounts.chain((keyCount) =>
    fc.record({
      aid,
      isoId: maybe(uint(16)),
      name: maybe(fc.integer({ min: 1, max: 16 }).chain(bytes)),
      keySettings: uint(8),
      hasIsoFileIds: fc.boolean(),
      keys: fc.array(key, { minLength: keyCount, maxLength: keyCount }),
      files: files(keyCount),
    }),
  );
}

const configuration = fc.record({
  failedAuthentications: fc.record({ isCounted: fc.boolean(), limit: fc.integer({ min: 1, max: 0xffff }), decrement: uint(16) }),
  capabilities: bytes(2),
  isRenamed: fc.boolean(),
});
const light = fc.record({
  profile: fc.constant('light' as const),
  uid: bytes(7),
  picc: fc.record({ masterKey: fc.constant(undefined), keySettings: uint(8), lostBytes: uint(24), configuration }),
  applications: fc.tuple(application(fc.constant(undefined), fc.constant(5))),
});
const withApplications = fc.record({
  profile: fc.constantFrom('ev2' as const, 'ev3' as const),
  uid: bytes(7),
  picc: fc.record({
    masterKey: fc.tuple(key, fc.constantFrom('2k3des' as const, 'aes' as const)).map(([one, type]) => ({ ...one, type })),
    keySettings: uint(8),
    lostBytes: uint(24),
    configuration,
  }),
  applications: fc.uniqueArray(application(fc.integer({ min: 1, max: 0xffffff }), fc.integer({ min: 1, max: 14 })), { selector: ({ aid }) => aid, maxLength: 4 }),
});

export const cardImage: fc.Arbitrary<CardImage> = fc.oneof(light, withApplications);
