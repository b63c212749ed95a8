/** Image files: what is read back, what is refused, and who may hold one. */
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CardImageError, encodeCardImage, parseCardImage } from './image-codec.ts';
import { changeFile, factoryImage, usableCard } from './testing-card.ts';
import { createFactoryImage } from './factory-image.ts';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { FileCardMemory } from './file-card-memory.ts';
import { join } from 'node:path';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { secureRandom } from './crypto.ts';
import { tmpdir } from 'node:os';
import type { CardImage } from './card-image.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'card-image-'));
  path = join(folder, 'card.json');
});

afterEach(() => rmSync(folder, { recursive: true }));

describe('the image as text', () => {
  it('comes back as it was', () => {
    const image = changeFile(usableCard(factoryImage()), 'transaction-mac', { counterLimit: 9 });
    expect(parseCardImage(encodeCardImage(image))).toEqual(image);
    expect(parseCardImage(encodeCardImage(factoryImage()))).toEqual(factoryImage());
  });

  it('a random UID begins with the maker, and a given one has seven bytes', () => {
    const { uid } = createFactoryImage({ random: secureRandom });
    expect([uid[0], uid.length]).toEqual([0x04, 7]);
    expect(() => createFactoryImage({ uid: new Uint8Array(4), random: secureRandom })).toThrow(RangeError);
  });

  it('of the first format, which knew Lights only, is still read', () => {
    const image = usableCard(factoryImage());
    const { uid, applications } = JSON.parse(encodeCardImage(image)) as { uid: string; applications: [{ keys: unknown; files: unknown }] };
    const { keys, files } = applications[0];
    expect(parseCardImage(JSON.stringify({ format: 'kessai-card-image-1', profile: 'desfire-light', uid, keys, files }))).toEqual(image);
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
    ['no application', (image) => ({ ...image, applications: [] }), 'image.applications: not a list of 1 to 1'],
    ['another profile, but no master key', (image) => ({ ...image, profile: 'ev2' }), 'image.picc.masterKey: missing'],
    ['an unknown field', (image) => ({ ...image, more: 1 }), 'image.more: unknown field'],
    ['a missing field', (image) => ({ ...image, uid: undefined }), 'image.uid: missing'],
    ['a list instead', () => [], 'image: not an object'],
    ['a null', () => null, 'image: not an object'],
  ];

  it.each(damages)('with %s is refused by name', (_, damage, message) => {
    const plain = JSON.parse(encodeCardImage(factoryImage())) as Plain;
    const text = JSON.stringify(damage(plain));
    expect(() => parseCardImage(text)).toThrow(CardImageError);
    expect(() => parseCardImage(text)).toThrow(message);
  });

  it('cut anywhere it is refused', () => {
    const text = encodeCardImage(factoryImage()).trimEnd();
    fc.assert(fc.property(fc.integer({ min: 0, max: text.length - 1 }), (length) => {
      expect(() => parseCardImage(text.slice(0, length))).toThrow(CardImageError);
    }));
  });
});

describe('the image in a file', () => {
  const withValue = (value: number): CardImage => changeFile(factoryImage(), 'value', { value });

  it('is made once, for its owner only, and every commit survives', async () => {
    const first = await FileCardMemory.open(path, factoryImage);
    await first.commit(withValue(7));
    expect(first.image).toEqual(withValue(7));
    first.close();
    const second = await FileCardMemory.open(path, () => expect.fail('the image is there'));
    expect(second.image).toEqual(withValue(7));
    second.close();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['card.json']);
  });

  it('a missing one is an error that names it, and leaves no lock', async () => {
    await expect(FileCardMemory.open(path)).rejects.toThrow(`${path}: there is no such card image`);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('a damaged one is an error that names file and field, and leaves no lock', async () => {
    writeFileSync(path, encodeCardImage(factoryImage()).replace('"uid"', '"uuid"'));
    await expect(FileCardMemory.open(path, factoryImage)).rejects.toThrow(`${path}: image.uid: missing`);
    expect(readdirSync(folder)).toEqual(['card.json']);
  });

  it('what a kill in the middle of a commit left behind is not believed', async () => {
    (await FileCardMemory.open(path, factoryImage)).close();
    writeFileSync(join(folder, '.card.json.new'), encodeCardImage(withValue(9)).slice(0, 100));
    const memory = await FileCardMemory.open(path);
    expect(memory.image).toEqual(factoryImage());
    memory.close();
    expect(readdirSync(folder)).toEqual(['card.json']);
  });

  it('belongs to one holder at a time, and to none after close', async () => {
    const holder = await FileCardMemory.open(path, factoryImage);
    await expect(FileCardMemory.open(path)).rejects.toThrow('in use by another process');
    holder.close();
    holder.close();
    await expect(holder.commit(withValue(1))).rejects.toThrow('closed');
    const next = await FileCardMemory.open(path);
    holder.close();
    await expect(FileCardMemory.open(path)).rejects.toThrow('in use');
    next.close();
  });

  it('the lock of a dead process is taken over; that of a living one is not, unless its number is a new process', async () => {
    const dead = execFileSync(process.execPath, ['-e', 'console.log(process.pid)'], { encoding: 'utf8' }).trim();
    writeFileSync(`${path}.lock`, `${dead} 1 00`);
    (await FileCardMemory.open(path, factoryImage)).close();
    const start = readFileSync(`/proc/${process.ppid}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ')[19];
    writeFileSync(`${path}.lock`, `${process.ppid} ${start} 00`);
    await expect(FileCardMemory.open(path)).rejects.toThrow('in use');
    writeFileSync(`${path}.lock`, `${process.ppid} 1 00`);
    (await FileCardMemory.open(path)).close();
    expect(readdirSync(folder)).toEqual(['card.json']);
  });

  it.runIf(process.platform === 'linux')('a killed process that nobody has buried yet holds nothing', async () => {
    // The shell's child becomes a zombie: its parent has turned into a program that never waits for it.
    const parent = spawn('sh', ['-c', 'sleep 0 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const [line] = (await once(parent.stdout, 'data')) as [Buffer];
    const zombie = line.toString().trim();
    const fields = (): string[] => readFileSync(`/proc/${zombie}/stat`, 'utf8').replace(/^.*\) /s, '').split(' ');
    await expect.poll(() => fields()[0]).toBe('Z');
    writeFileSync(`${path}.lock`, `${zombie} ${fields()[19]} 00`);
    (await FileCardMemory.open(path, factoryImage)).close();
    parent.kill('SIGKILL');
    await once(parent, 'close');
  });

  it('close leaves a lock that is no longer its own', async () => {
    const memory = await FileCardMemory.open(path, factoryImage);
    writeFileSync(`${path}.lock`, 'another holder');
    memory.close();
    expect(readFileSync(`${path}.lock`, 'utf8')).toBe('another holder');
  });

  it('while one process judges a stale lock, another keeps away', async () => {
    writeFileSync(`${path}.lock`, 'left over');
    writeFileSync(`${path}.lock.takeover`, '');
    await expect(FileCardMemory.open(path, factoryImage)).rejects.toThrow('delete this file');
  });
});
