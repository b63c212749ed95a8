/** For tests only: a card on the table, with its memory in view and the commands of a payment as one-liners. */
import { Chip } from '../chip.ts';
import { createFactoryImage } from '../factory-image.ts';
import { encodeInt32LE, walletApplication, withApplication, withFile } from '../card-image.ts';
import { encodeUintLE, parseHex } from '#protocol/bytes.ts';
import { secureRandom } from '../crypto.ts';
import { TestingHost } from './host.ts';
import { VolatileCardMemory } from '../card-memory.ts';
import type { CardApplication, CardFile, CardImage } from '../card-image.ts';
import type { CardMemory } from '../card-memory.ts';
import type { ChipOptions } from '../chip.ts';
import type { HostAnswer } from './host.ts';

export const ZERO_KEY = new Uint8Array(16);
export const NONE = new Uint8Array();
export const UID = parseHex('04A1A2A3A4A5A6');

type ImageChange = (image: CardImage) => CardImage;

const untouched: ImageChange = (image) => image;

export function factoryImage(): CardImage {
  return createFactoryImage({ uid: UID, random: secureRandom });
}

export function walletOf(image: CardImage): CardApplication {
  const wallet = walletApplication(image);
  if (wallet === undefined) throw new Error('a card without the wallet');
  return wallet;
}

/** The image with its wallet application changed. */
export function changeWallet(image: CardImage, change: (wallet: CardApplication) => CardApplication): CardImage {
  const wallet = walletOf(image);
  return withApplication(image, image.applications.indexOf(wallet), change(wallet));
}

/** The image with some fields of the wallet's one file of a type replaced. */
export function changeFile<T extends CardFile['type']>(image: CardImage, type: T, fields: Partial<Extract<CardFile, { type: T }>>): CardImage {
  return changeWallet(image, (wallet) => {
    const file = wallet.files.find((one) => one.type === type);
    return withFile(wallet, { ...file, ...fields } as CardFile);
  });
}

/** A card whose value, log and transaction-MAC files key 1 can use and key 3 can load, with 5000 on it and one log record. */
export function usableCard(image: CardImage): CardImage {
  const rights = { read: 1, write: 1, readWrite: 3, change: 0 };
  const withMoney = changeFile(image, 'value', { rights, value: 5000, freeGetValue: false, limitedCreditEnabled: false });
  const withLog = changeFile(withMoney, 'cyclic', { rights, records: [parseHex('11'.repeat(16))] });
  return changeFile(withLog, 'transaction-mac', { rights: { read: 1, write: 15, readWrite: 15, change: 0 }, appTmKey: parseHex('22'.repeat(16)) });
}

export class CardUnderTest {
  readonly memory: CardMemory;
  readonly chip: Chip;
  readonly host: TestingHost;

  constructor(change: ImageChange = untouched, options: Partial<ChipOptions> = {}) {
    this.memory = options.memory ?? new VolatileCardMemory(change(factoryImage()));
    this.chip = new Chip({ ...options, memory: this.memory });
    this.host = new TestingHost(this.chip);
  }

  /** Selects the application and authenticates with a key of zeros. */
  async begin(keyNo: number): Promise<void> {
    await this.host.select();
    const status = await this.host.authenticate(keyNo, ZERO_KEY);
    if (status !== 0x9100) throw new Error(`authentication answered ${status.toString(16)}`);
  }

  get wallet(): CardApplication {
    return walletOf(this.memory.image);
  }

  fileOf<T extends CardFile['type']>(type: T): Extract<CardFile, { type: T }> {
    return this.wallet.files.find((one) => one.type === type) as Extract<CardFile, { type: T }>;
  }

  debit(value: number): Promise<HostAnswer> {
    return this.host.send(0xdc, [3], encodeInt32LE(value), 'full', 'mac');
  }

  credit(value: number): Promise<HostAnswer> {
    return this.host.send(0x0c, [3], encodeInt32LE(value), 'full', 'mac');
  }

  limitedCredit(value: number): Promise<HostAnswer> {
    return this.host.send(0x1c, [3], encodeInt32LE(value), 'full', 'mac');
  }

  getValue(): Promise<HostAnswer> {
    return this.host.send(0x6c, [3], NONE, 'mac', 'full');
  }

  writeRecord(data: Uint8Array, offset = 0): Promise<HostAnswer> {
    return this.host.send(0x8b, [1, ...encodeUintLE(offset, 3), ...encodeUintLE(data.length, 3)], data, 'full', 'mac');
  }

  readRecords(first: number, count: number): Promise<HostAnswer> {
    return this.host.send(0xab, [1, ...encodeUintLE(first, 3), ...encodeUintLE(count, 3)], NONE, 'mac', 'full');
  }

  readCounter(): Promise<HostAnswer> {
    return this.host.send(0xad, [15, 0, 0, 0, 0, 0, 0], NONE, 'mac', 'full');
  }

  commit(): Promise<HostAnswer> {
    return this.host.send(0xc7, [], new Uint8Array([1]), 'mac', 'mac');
  }

  abort(): Promise<HostAnswer> {
    return this.host.send(0xa7, [], NONE, 'mac', 'mac');
  }
}
