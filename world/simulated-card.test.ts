import { mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createPcscBackend } from '#bridge/host/pcsc/backend.ts';
import { parseHex } from '#protocol/bytes.ts';
import { slotOf } from './card-place.ts';
import { openSimulatedCard, type SimulatedCard } from './simulated-card.ts';
import { startVirtualReader, type VirtualReader } from './virtual-reader.ts';

const WAIT = { timeout: 15_000 };
/** GetKeySettings in ISO framing: any command that the chip answers. */
const COMMAND = parseHex('9045000000');
const folder = mkdtempSync(join(tmpdir(), 'kessai-card-'));
const backend = createPcscBackend();
const states: string[] = [];
let reader: VirtualReader;
let card: SimulatedCard;

beforeAll(async () => {
  reader = await startVirtualReader({ folder: join(folder, 'reader') });
  Object.assign(process.env, reader.environment); // read once, when this process first connects
  backend.watch(({ readers }) => void states.push(readers.find(({ name }) => name === reader.readerNames[0])?.state ?? 'gone'));
  card = await openSimulatedCard({ folder, name: 'card', place: slotOf(reader.vpcdPorts[0] ?? 0), onJournal: () => undefined });
});
afterEach(async () => {
  card.fate = () => 'answer';
  await card.lift();
});
afterAll(async () => {
  await card.close();
  await backend.close();
  await reader.stop();
  rmSync(folder, { recursive: true, force: true });
});

const stateIs = (state: string) => expect.poll(() => states.at(-1), WAIT).toBe(state);
const connect = () => backend.connect(reader.readerNames[0] ?? '');

test.each(['lift-before', 'lift-after'] as const)('a card lifted by its fate (%s) and put back at once is seen to go and to come', async (fate) => {
  await stateIs('empty');
  await card.insert();
  await stateIs('present');
  states.length = 0;
  const channel = await connect();
  card.fate = () => fate;
  await expect(channel.transmit(COMMAND, 5_000)).rejects.toMatchObject({ code: 'card/removed' });
  card.fate = () => 'answer';
  await card.insert();
  await channel.close();
  await expect.poll(() => states, WAIT).toEqual(['empty', 'present']);
  const next = await connect();
  expect((await next.transmit(COMMAND, 5_000)).length).toBeGreaterThanOrEqual(2);
  await next.close();
});

test('a card lifted under an open connection and put back at once is seen to go and to come', async () => {
  await stateIs('empty');
  await card.insert();
  await stateIs('present');
  states.length = 0;
  const channel = await connect();
  await card.lift();
  // Its reset finds no card.
  await channel.close();
  await card.insert();
  await expect.poll(() => states, WAIT).toEqual(['empty', 'present']);
  await (await connect()).close();
});

test('a card may be lifted before it lies on the reader', async () => {
  await stateIs('empty');
  const inserted = card.insert();
  await card.lift();
  await inserted;
  await card.insert();
  await stateIs('present');
});

test('a new card is a .card file; one that was made as .json is found and used on', async () => {
  const own = mkdtempSync(join(tmpdir(), 'kessai-card-'));
  const open = () => openSimulatedCard({ folder: own, name: 'mine', place: slotOf(0), onJournal: () => undefined });
  try {
    const first = await open();
    await first.close();
    expect(readdirSync(join(own, 'cards'))).toEqual(['mine.card']);
    renameSync(join(own, 'cards', 'mine.card'), join(own, 'cards', 'mine.json'));
    const again = await open();
    expect(again.cardId).toBe(first.cardId);
    await again.close();
    expect(readdirSync(join(own, 'cards'))).toEqual(['mine.json']);
  } finally {
    rmSync(own, { recursive: true });
  }
});
