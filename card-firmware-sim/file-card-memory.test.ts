/** Image files: what is read back, what is converted, what is refused, and who may hold one. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { changeFile, factoryImage, usableCard, walletOf } from './testing/card.ts';
import { CardImageError } from './memory/card-image-error.ts';
import { createFactoryImage } from './factory-image.ts';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { FileCardMemory } from './file-card-memory.ts';
import { join } from 'node:path';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { secureRandom } from './crypto.ts';
import { tmpdir } from 'node:os';
import FORMAT_1 from './memory/former-images/format-1.json' with { type: 'json' };
import FORMAT_2 from './memory/former-images/format-2.json' with { type: 'json' };
import type { CardImage } from './card-image.ts';

let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'card-image-'));
  path = join(folder, 'card.image');
});

afterEach(() => rmSync(folder, { recursive: true }));

it('a random UID begins with the maker, and a given one has seven bytes', () => {
  const { uid } = createFactoryImage({ random: secureRandom });
  expect([uid[0], uid.length]).toEqual([0x04, 7]);
  expect(() => createFactoryImage({ uid: new Uint8Array(4), random: secureRandom })).toThrow(RangeError);
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
    expect(readdirSync(folder)).toEqual(['card.image']);
  });

  it('a missing one is an error that names it, and leaves no lock', async () => {
    await expect(FileCardMemory.open(path)).rejects.toThrow(`${path}: there is no such card image`);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('a damaged one is an error that names file and field, and leaves no lock', async () => {
    (await FileCardMemory.open(path, factoryImage)).close();
    const content = readFileSync(path);
    const refusals: [Uint8Array, string][] = [
      [new TextEncoder().encode('hello'), 'not the memory of a card'],
      [new Uint8Array(), 'not the memory of a card'],
      [content.subarray(0, -1), 'not the memory of a card'],
      [Buffer.concat([content, new Uint8Array(64)]), 'not the memory of a card'],
      [new Uint8Array((1 << 20) + 1), 'too large for a card image'],
      [Buffer.concat([new Uint8Array(1), content.subarray(1)]), 'image.magic'],
      [Buffer.concat([content.subarray(0, 6), new Uint8Array([2]), content.subarray(7)]), 'image.format: not an integer from 1 to 1'],
      [new TextEncoder().encode('{"format":"kessai-card-image-3"}'), 'image.format: not kessai-card-image-2 or kessai-card-image-1'],
    ];
    for (const [damaged, message] of refusals) {
      writeFileSync(path, damaged);
      await expect(FileCardMemory.open(path, factoryImage)).rejects.toThrow(`${path}: ${message}`);
      await expect(FileCardMemory.open(path, factoryImage)).rejects.toThrow(CardImageError);
      expect(readFileSync(path).equals(damaged)).toBe(true);
    }
    expect(readdirSync(folder)).toEqual(['card.image']);
  });

  it.each([FORMAT_1, FORMAT_2])('$format, the text of a former version, is converted once, and keeps its state', async (former) => {
    const expected = changeFile(changeFile(usableCard(factoryImage()), 'transaction-mac', { counterLimit: 9, counter: 2 }), 'value', { lower: -5 });
    writeFileSync(path, JSON.stringify(former));
    const first = await FileCardMemory.open(path);
    expect(first.image).toEqual(expected);
    await first.commit(changeFile(expected, 'value', { value: 1 }));
    first.close();
    expect(readFileSync(path).subarray(0, 6).toString()).toBe('KESSAI');
    const second = await FileCardMemory.open(path);
    expect(second.image).toEqual(changeFile(expected, 'value', { value: 1 }));
    second.close();
    expect([statSync(path).mode & 0o777, ...readdirSync(folder)]).toEqual([0o600, 'card.image']);
  });

  it('what a kill in the middle of creating or converting left behind is not believed', async () => {
    (await FileCardMemory.open(path, () => withValue(9))).close();
    const leftover = readFileSync(path);
    writeFileSync(path, JSON.stringify(FORMAT_1));
    writeFileSync(join(folder, '.card.image.new'), leftover.subarray(0, 100));
    const memory = await FileCardMemory.open(path);
    expect(walletOf(memory.image).files).toContainEqual(expect.objectContaining({ type: 'value', value: 5000, lower: -5 }));
    memory.close();
    expect(readdirSync(folder)).toEqual(['card.image']);
  });

  it('what a kill in the middle of a commit left undone is done at the next opening', async () => {
    const writes: number[] = [];
    const memory = await FileCardMemory.open(path, factoryImage, (page) => writes.push(page));
    const before = readFileSync(path);
    await memory.commit(withValue(7));
    memory.close();
    // The page went into the journal, its head after it, then home.
    expect(writes).toHaveLength(3);
    const after = readFileSync(path);
    const [home = 0] = writes.slice(-1);
    const killed = Buffer.concat([after.subarray(0, home * 64), before.subarray(home * 64, (home + 1) * 64), after.subarray((home + 1) * 64)]);
    writeFileSync(path, killed);
    const reopened = await FileCardMemory.open(path);
    expect(reopened.image).toEqual(withValue(7));
    reopened.close();
    expect(readFileSync(path).equals(after)).toBe(true);
  });

  it('an image that is impossible is refused, and the one that is there stays', async () => {
    const memory = await FileCardMemory.open(path, factoryImage);
    await expect(memory.commit(changeFile(factoryImage(), 'value', { value: -1 }))).rejects.toThrow('image.applications[0].files[2].value');
    expect(memory.image).toEqual(factoryImage());
    await memory.commit(withValue(3));
    memory.close();
  });

  it.each([
    ['in the first page of the journal', 1, 0],
    ['in the head of the journal', 2, 7],
    ['on the way home', 3, 7],
  ])('whose write failed %s is all old or all new once it has its power again, and takes commits', async (_, failing, expected) => {
    let writes = 0;
    const memory = await FileCardMemory.open(path, factoryImage, () => {
      if (++writes === failing) throw new Error('no space left');
    });
    const old = withValue(0);
    await expect(memory.commit(withValue(7))).rejects.toThrow('no space left');
    expect(() => memory.image).toThrow('without power');
    await memory.powerUp();
    expect(memory.image).toEqual(expected === 0 ? old : withValue(expected));
    await memory.commit(withValue(9));
    memory.close();
    await memory.powerUp();
    const next = await FileCardMemory.open(path);
    expect(next.image).toEqual(withValue(9));
    next.close();
    expect(readdirSync(folder)).toEqual(['card.image']);
  });

  it('closed while it gets its power again it keeps its lock until the file is whole', async () => {
    let writes = 0;
    const memory = await FileCardMemory.open(path, factoryImage, () => {
      if (++writes === 3) throw new Error('no space left');
    });
    await expect(memory.commit(withValue(7))).rejects.toThrow('no space left');
    const powered = memory.powerUp();
    memory.close();
    await expect(FileCardMemory.open(path)).rejects.toThrow('in use');
    await powered;
    const next = await FileCardMemory.open(path);
    expect(next.image).toEqual(withValue(7));
    next.close();
  });

  it('closed without power it keeps its hands off the file', async () => {
    const memory = await FileCardMemory.open(path, factoryImage, () => {
      throw new Error('no space left');
    });
    await expect(memory.commit(withValue(7))).rejects.toThrow('no space left');
    memory.close();
    const next = await FileCardMemory.open(path);
    await memory.powerUp();
    await next.commit(withValue(8));
    next.close();
    expect(() => memory.image).toThrow('without power');
    const last = await FileCardMemory.open(path);
    expect(last.image).toEqual(withValue(8));
    last.close();
  });

  it('stays without power while its file is gone', async () => {
    const memory = await FileCardMemory.open(path, factoryImage, () => {
      throw new Error('no space left');
    });
    await expect(memory.commit(withValue(7))).rejects.toThrow('no space left');
    const content = readFileSync(path);
    rmSync(path);
    await expect(memory.powerUp()).rejects.toThrow(`${path}: there is no such card image`);
    expect(() => memory.image).toThrow('without power');
    writeFileSync(path, content);
    await memory.powerUp();
    expect(memory.image).toEqual(factoryImage());
    memory.close();
  });

  it('closed in the middle of a commit it writes nothing more, and the next one to open it finds all old or all new', async () => {
    const memory = await FileCardMemory.open(path, factoryImage);
    const commit = expect(memory.commit(withValue(7))).rejects.toThrow('closed');
    memory.close();
    const next = await FileCardMemory.open(path);
    await commit;
    expect(() => memory.image).toThrow('without power');
    expect([factoryImage(), withValue(7)]).toContainEqual(next.image);
    next.close();
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
    expect(readdirSync(folder)).toEqual(['card.image']);
  });

  it.runIf(process.platform === 'linux')('a killed process that nobody has buried yet holds nothing', async () => {
    // The shell's child becomes a zombie: its parent has turned into a program that never waits for it.
    const parent = spawn('sh', ['-c', 'sleep 0.1 & echo $!; exec sleep 60'], { stdio: ['ignore', 'pipe', 'ignore'] });
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
