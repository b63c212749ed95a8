/** Images of former versions: what they wrote is read, and what is damaged is refused by name before anything is converted. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CardImageError } from './card-image-error.ts';
import { createCardContent } from './journalled-card-memory.ts';
import { encodeHex } from '#protocol/bytes.ts';
import { createFactoryImage } from '../factory-image.ts';
import { changeFile, factoryImage, usableCard } from '../testing/card.ts';
import { parseJsonImage } from './json-image.ts';
import FORMAT_1 from './former-images/format-1.json' with { type: 'json' };
import FORMAT_2 from './former-images/format-2.json' with { type: 'json' };
import type { CardImage } from '../card-image.ts';

const parse = (value: unknown): CardImage => parseJsonImage(new TextEncoder().encode(JSON.stringify(value)));
/** As FileCardMemory converts it. */
const convert = (value: unknown): unknown => createCardContent(parse(value));

/** As the second format was written. */
function written(image: CardImage): unknown {
  return JSON.parse(JSON.stringify({ format: 'kessai-card-image-2', ...image }, (_, value: unknown) => (value instanceof Uint8Array ? encodeHex(value) : value)));
}

describe('an image of a former version', () => {
  const expected = changeFile(changeFile(usableCard(factoryImage()), 'transaction-mac', { counterLimit: 9, counter: 2 }), 'value', { lower: -5 });

  it('comes back as it was', () => {
    expect(parse(FORMAT_1)).toEqual(expected);
    expect(parse(FORMAT_2)).toEqual(expected);
    const blank = createFactoryImage({ profile: 'ev2', random: (length) => new Uint8Array(length).fill(7) });
    for (const image of [expected, blank]) expect(parse(written(image))).toEqual(image);
  });

  type Plain = Record<string, unknown> & { applications: [Wallet] };
  type Wallet = Record<string, unknown> & { keys: Record<string, unknown>[]; files: Record<string, unknown>[] };
  const inWallet = (image: Plain, change: (wallet: Wallet) => unknown): unknown => ({ ...image, applications: [change(image.applications[0])] });
  const damages: [string, (image: Plain) => unknown, string][] = [
    ['another format', (image) => ({ ...image, format: 'x' }), 'image.format: not kessai-card-image-2 or kessai-card-image-1'],
    ['an unknown profile', (image) => ({ ...image, profile: 'x' }), 'image.profile'],
    ['a short UID', (image) => ({ ...image, uid: '04' }), 'image.uid: not 7 bytes'],
    ['a UID in lower case', (image) => ({ ...image, uid: '04a1a2a3a4a5a6' }), 'image.uid: not a string of upper-case hex'],
    ['no keys', (image) => inWallet(image, (wallet) => ({ ...wallet, keys: [] })), 'image.applications[0].keys: not a list of 1 to 14'],
    ['four keys', (image) => inWallet(image, (wallet) => ({ ...wallet, keys: wallet.keys.slice(1) })), 'image.applications[0].keys: not 5'],
    ['a key of 15 bytes', (image) => inWallet(image, (wallet) => ({ ...wallet, keys: [{ ...wallet.keys[0], value: '00'.repeat(15) }, ...wallet.keys.slice(1)] })), 'image.applications[0].keys[0].value: not 16 bytes'],
    ['a version of 256', (image) => inWallet(image, (wallet) => ({ ...wallet, keys: [{ ...wallet.keys[0], version: 256 }, ...wallet.keys.slice(1)] })), 'image.applications[0].keys[0].version'],
    ['a file twice', (image) => inWallet(image, (wallet) => ({ ...wallet, files: [...wallet.files, wallet.files[1]] })), 'two files with one number'],
    ['two transaction-MAC files', (image) => inWallet(image, (wallet) => ({ ...wallet, files: [...wallet.files, { ...wallet.files[0], number: 9 }] })), 'more than one transaction-MAC file'],
    ['a value above its limit', (image) => inWallet(image, (wallet) => ({ ...wallet, files: [{ ...wallet.files[2], value: 2 ** 31 }] })), 'image.applications[0].files[0].value'],
    ['a right of no key', (image) => inWallet(image, (wallet) => ({ ...wallet, files: [{ ...wallet.files[2], rights: { read: 7, write: 1, readWrite: 1, change: 1 } }] })), 'image.applications[0].files[0].rights'],
    ['a communication mode of 2', (image) => inWallet(image, (wallet) => ({ ...wallet, files: [{ ...wallet.files[2], mode: 2 }] })), 'image.applications[0].files[0].mode'],
    ['a record too long', (image) => inWallet(image, (wallet) => ({ ...wallet, files: [{ ...wallet.files[4], records: ['00'] }] })), 'image.applications[0].files[0].records: not 16 bytes'],
    ['no application', (image) => ({ ...image, applications: [] }), 'image.applications: not an integer from 1 to 1'],
    ['another profile, but no master key', (image) => ({ ...image, profile: 'ev2' }), 'image.picc.masterKey: missing'],
    ['an unknown field', (image) => ({ ...image, more: 1 }), 'image.more: unknown field'],
    ['a missing field', (image) => ({ ...image, uid: undefined }), 'image.uid: missing'],
    ['a list instead', () => [], 'image: not an object'],
    ['a null', () => null, 'image: not an object'],
  ];

  it.each(damages)('with %s is refused by name', (_, damage, message) => {
    const damaged = damage(written(factoryImage()) as Plain);
    expect(() => convert(damaged)).toThrow(CardImageError);
    expect(() => convert(damaged)).toThrow(message);
  });

  it('cut anywhere it is refused', () => {
    const text = new TextEncoder().encode(JSON.stringify(FORMAT_2));
    fc.assert(fc.property(fc.integer({ min: 0, max: text.length - 1 }), (length) => {
      expect(() => parseJsonImage(text.slice(0, length))).toThrow(CardImageError);
    }));
  });
});

