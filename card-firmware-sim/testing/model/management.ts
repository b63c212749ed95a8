/** For tests only: identity, keys, settings and configuration of the model. */
/* eslint-disable @typescript-eslint/no-non-null-assertion -- as in every test: what is missing must fail loudly */
import { refuse } from './card.ts';
import { bytesOf, exactly, fileOf, FREE, fullIn, grantee, macBothWays, NEVER, numberOf, signedOf, typed } from './rules.ts';
import type { ModelCard } from './card.ts';
import type { File, Rule } from './rules.ts';

function requireMaster(card: ModelCard): void {
  if (card.session?.keyNo !== 0) refuse(0xae);
}

const areKnown = (rights: File['rights']): boolean => Object.values(rights).every((holder) => holder < 5 || holder === FREE || holder === NEVER);
const parseRights = ([first = 0, second = 0]: number[]): File['rights'] => ({ readWrite: first >> 4, change: first % 16, read: second >> 4, write: second % 16 });
const modeOf = (option: number): 0 | 1 | 3 => (option % 2 === 0 ? 0 : option % 4 === 1 ? 1 : 3);

function settingsOf(file: File, { profile }: ModelCard): number[] {
  const { readWrite, change: changeKey, read, write } = file.rights;
  const begin = (type: number, option = 0): number[] => [type, file.mode + option, readWrite * 16 + changeKey, read * 16 + write];
  switch (file.type) {
    case 'standard':
      return [...begin(0), ...bytesOf(file.content.length, 3)];
    case 'value':
      return [...begin(2), ...[file.lower, file.upper, file.limitedCredit].flatMap((value) => bytesOf(value, 4)), (file.limitedCreditEnabled ? 1 : 0) + (file.freeGetValue && profile.valueOptionShown === 'both' ? 2 : 0)];
    case 'cyclic':
      return [...begin(4), ...[file.recordBytes, file.maxRecords, file.records.length].flatMap((value) => bytesOf(value, 3))];
    case 'transaction-mac':
      return file.counterLimit === undefined || !profile.counterLimitShown ? [...begin(5), 2, file.keyVersion] : [...begin(5, 32), 2, file.keyVersion, ...bytesOf(file.counterLimit, 4)];
    case 'backup':
    case 'linear':
      return refuse(0xf0);
  }
}

const SETTINGS: Record<number, Rule> = {
  // GetFileIDs, GetISOFileIDs, GetFileSettings
  0x6f: { headerBytes: 0, travels: macBothWays, run: (card) => ({ data: card.application.files.map(({ number }) => number) }) },
  0x61: { headerBytes: 0, travels: macBothWays, run: (card) => ({ data: card.application.files.flatMap((file) => ('isoId' in file ? bytesOf(file.isoId!, 2) : [])) }) },
  0xf5: { headerBytes: 1, travels: macBothWays, run: (card, header) => ({ data: settingsOf(fileOf(card, header[0]), card) }) },
  // ChangeFileSettings
  0x5f: {
    headerBytes: 1,
    dataBytes: () => [3, 7],
    travels: (card, header) => (grantee(card, fileOf(card, header[0]), ['change']) === 'all' ? ['plain', 'plain'] : ['full', 'mac']),
    run(card, header, data) {
      const file = fileOf(card, header[0]);
      const by = grantee(card, file, ['change']);
      if (by === 'nobody') refuse(0x9d);
      if (by === 'other') refuse(0xae);
      const hasLimit = file.type === 'transaction-mac' && (data[0]! & 32) !== 0;
      if (data.length !== (hasLimit ? 7 : 3)) refuse(0x7e);
      if ((data[0]! & ~(hasLimit ? 35 : 3)) !== 0) refuse(0x9e);
      const rights = parseRights(data.slice(1, 3));
      if (!areKnown(rights) || (file.type === 'transaction-mac' && rights.write !== NEVER)) refuse(0x9e);
      const limit = hasLimit ? numberOf(data.slice(3)) : undefined;
      if (file.type === 'transaction-mac' && limit !== undefined && limit < file.counter) refuse(0x9e);
      Object.assign(file, { mode: modeOf(data[0]!), rights });
      if (file.type === 'transaction-mac') file.counterLimit = limit;
      return {};
    },
  },
  // DeleteFile
  0xdf: {
    headerBytes: 1,
    travels: macBothWays,
    run(card, header) {
      requireMaster(card);
      const file = typed(card, header, 'transaction-mac');
      card.application.files = card.application.files.filter((other) => other !== file);
      card.abort();
      return {};
    },
  },
  // CreateTransactionMACFile
  0xce: {
    headerBytes: 5,
    dataBytes: exactly(17),
    travels: fullIn,
    run(card, header, data) {
      requireMaster(card);
      const [number = 0, option = 0] = header;
      const rights = parseRights(header.slice(2, 4));
      if (option > 3 || header[4] !== 2 || number > 31 || !areKnown(rights) || rights.write !== NEVER) refuse(0x9e);
      if (card.application.files.some((file) => file.number === number)) refuse(0xde);
      if (card.macFile !== undefined) refuse(0x9d);
      card.application.files.unshift({ type: 'transaction-mac', number, mode: modeOf(option), rights, appTmKey: data.slice(0, 16), keyVersion: data[16]!, counter: 0, tmv: bytesOf(0, 8), readerId: bytesOf(0, 16), counterLimit: undefined });
      card.abort();
      return {};
    },
  },
};

const CONFIGURATIONS: Record<number, (card: ModelCard, data: number[]) => void> = {
  0x00: (_card, data) => {
    if (data.length !== 1) refuse(0x7e);
    if (data[0] !== 0) refuse(data[0] === 2 ? 0x9d : 0x9e);
  },
  0x04: (_card, data) => {
    if (data.length !== 2) refuse(0x7e);
    if (numberOf(data) !== 0) refuse(0x9e);
  },
  0x05: (card, data) => {
    if (data.length !== 10) refuse(0x7e);
    if (data[4] === 2) refuse(0x9d);
    if (data.slice(0, 8).some((byte) => byte !== 0)) refuse(0x9e);
    card.kept.picc.configuration.capabilities = data.slice(8);
  },
  0x06: (card, data) => {
    const { configuration } = card.kept.picc;
    if (data.length !== 19) refuse(0x7e);
    if (configuration.isRenamed) refuse(0x9d);
    const [length, isoId] = [data[0]! - 128, numberOf(data.slice(17))];
    if (length < 1 || length > 16 || [0x3f00, 0, 0xffff].includes(isoId)) refuse(0x9e);
    Object.assign(card.application, { name: data.slice(1, 1 + length), isoId });
    configuration.isRenamed = true;
  },
  0x09: (card, data) => {
    if (data.length !== 14) refuse(0x7e);
    const file = typed(card, data, 'value');
    if (file.configured) refuse(0x9d);
    const [lower, upper, value] = [1, 5, 9].map((at) => signedOf(data.slice(at, at + 4))) as [number, number, number];
    if (data[13]! > 3 || lower > value || value > upper) refuse(0x9e);
    Object.assign(file, { lower, upper, value, limitedCredit: 0, limitedCreditEnabled: data[13]! % 2 === 1, freeGetValue: data[13]! >= 2, configured: true });
    card.abort();
  },
  0x0a: (card, data) => {
    if (data.length !== 5) refuse(0x7e);
    const [limit, decrement] = [numberOf(data.slice(1, 3)), numberOf(data.slice(3))];
    if (data[0]! > 1 || (data[0] === 1 && limit === 0)) refuse(0x9e);
    Object.assign(card.kept.picc.configuration.failedAuthentications, data[0] === 1 ? { isCounted: true, limit, decrement } : { isCounted: false });
  },
};

const IDENTITY: Record<number, Rule> = {
  // GetVersion
  0x60: {
    headerBytes: 0,
    isForCardToo: true,
    travels: macBothWays,
    run({ profile, kept }) {
      const frames = [[...profile.hardwareVersion], [...profile.softwareVersion], [...kept.uid, ...profile.production]];
      return { data: frames.flat(), frames };
    },
  },
  // GetCardUID
  0x51: { headerBytes: 0, isForCardToo: true, travels: () => ['mac', 'full'], run: (card) => (card.session === undefined ? refuse(0xae) : { data: card.kept.uid }) },
  // GetKeyVersion
  0x64: { headerBytes: 1, travels: macBothWays, run: (card, header) => ({ data: [(card.application.keys[header[0]!] ?? refuse(0x40)).version] }) },
  // ChangeKey
  0xc4: {
    headerBytes: 1,
    dataBytes: () => [17, 21],
    travels: fullIn,
    run(card, [keyNo = 0], data) {
      if (card.session === undefined) refuse(0xae);
      const key = card.application.keys[keyNo] ?? refuse(0x40);
      requireMaster(card);
      const isOwn = keyNo === 0;
      if (data.length !== (isOwn ? 17 : 21)) refuse(0x7e);
      const value = data.slice(0, 16).map((byte, i) => (isOwn ? byte : byte ^ key.value[i]!));
      if (!isOwn && String(card.oracle.checksum(value)) !== String(data.slice(17))) refuse(0x1e);
      Object.assign(key, { value, version: data[16], failures: 0, failuresInARow: 0 });
      if (isOwn) card.end();
      return {};
    },
  },
  // SetConfiguration
  0x5c: {
    headerBytes: 1,
    dataBytes: () => [1, 32],
    travels: fullIn,
    run(card, [option = 0], data) {
      requireMaster(card);
      (CONFIGURATIONS[option] ?? refuse(0x9e))(card, data);
      return {};
    },
  },
};


export const MANAGEMENT_RULES: Readonly<Record<number, Rule>> = { ...IDENTITY, ...SETTINGS };
