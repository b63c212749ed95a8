/** For tests only, as a process of its own: changes a card image file without end and says each commit, until it is killed. Arguments: what to do, and the file. */
import { readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { FileCardMemory } from '../file-card-memory.ts';
import type { CardFile, CardImage } from '../card-image.ts';

const STANDARD_OUTPUT = 1;

/** The `n`-th image of a row: value, log, contents and counter all say so. */
function numbered(image: CardImage, n: number): CardImage {
  const files = image.applications[0]?.files.map((file) => numberedFile(file, n)) ?? [];
  return { ...image, applications: image.applications.map((application) => ({ ...application, files })) };
}

function numberedFile(file: CardFile, n: number): CardFile {
  switch (file.type) {
    case 'value':
      return { ...file, value: n };
    case 'cyclic':
      return { ...file, records: [new Uint8Array(file.recordBytes).fill(n & 0xff), ...file.records].slice(0, file.maxRecords - 1) };
    case 'transaction-mac':
      return { ...file, counter: n, tmv: new Uint8Array(8).fill(n & 0xff), readerId: new Uint8Array(16).fill(n & 0xff) };
    case 'standard':
      return { ...file, content: new Uint8Array(file.content.length).fill(n & 0xff) };
    case 'backup':
    case 'linear':
      return file;
  }
}

function numberOf(image: CardImage): number {
  const value = image.applications[0]?.files.find((file) => file.type === 'value');
  return value?.type === 'value' ? value.value : 0;
}

async function commitForever(path: string): Promise<never> {
  const memory = await FileCardMemory.open(path);
  for (let n = numberOf(memory.image) + 1; ; n++) {
    await memory.commit(numbered(memory.image, n));
    writeSync(STANDARD_OUTPUT, `${n}\n`);
  }
}

/** The file is replaced by one in a former format, which is opened, over and over. */
async function convertForever(path: string): Promise<never> {
  const former = readFileSync(path);
  for (let n = 1; ; n++) {
    (await FileCardMemory.open(path)).close();
    writeSync(STANDARD_OUTPUT, `${n}\n`);
    writeFileSync(`${path}.former`, former);
    renameSync(`${path}.former`, path);
  }
}

const [task, path = ''] = process.argv.slice(2);
await (task === 'convert' ? convertForever(path) : commitForever(path));
