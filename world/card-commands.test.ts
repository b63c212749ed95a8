/** The commands of an operator's desk as processes of their own, against a running settlement and a simulated card: a card's whole life. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createSoftToken, TOKEN_LABEL, TOKEN_PIN, type SoftToken } from '#servers/security/key-store/soft-token.fixture.ts';
import { slotOf } from './card-place.ts';
import { openSimulatedCard, type SimulatedCard } from './simulated-card.ts';
import { startWorld, type World } from './world.ts';

const LIMIT_MS = 120_000;
let folder = '';
let world: World;
let token: SoftToken | undefined;
/** How commands that work without the servers find the key store. */
let keyStore: string[] = [];
const cards: SimulatedCard[] = [];
const CODE = /^[0-9A-Z]{4}(-[0-9A-Z]{4}){3}$/;

interface Ended {
  readonly code: number;
  readonly json: Record<string, unknown>;
  readonly errors: string;
}

/** One command, to its end. */
function run(command: string, ...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, ['--import', 'tsx', `commands/${command}.ts`, ...args], { timeout: LIMIT_MS }, (error, stdout, stderr) => {
      const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
      resolve({ code, json: stdout.startsWith('{') ? (JSON.parse(stdout) as Record<string, unknown>) : {}, errors: stderr });
    });
  });
}

const atDesk = (command: string, ...args: string[]): Promise<Ended> => run(command, ...args, '--folder', folder, '--sim-port', String(world.ports.simReader), '--json');

/** A command that needs the servers and no card. */
const atServers = (command: string, ...args: string[]): Promise<Ended> => run(command, ...args, '--folder', folder, '--json');

const verify = (file: string): Promise<Ended> => run('verify-receipt', file, ...keyStore, '--root', join(folder, 'pki', 'root.crt'), '--json');

async function newCard(name: string, profile?: 'light' | 'ev2' | 'ev3'): Promise<SimulatedCard> {
  const card = await openSimulatedCard({ folder, name, profile, place: slotOf(world.ports.simReader), onJournal: () => undefined });
  cards.push(card);
  return card;
}

async function start(kind: 'file' | 'token'): Promise<void> {
  folder = mkdtempSync(join(process.getuid?.() === 0 ? homedir() : tmpdir(), 'kessai-desk-'));
  const script = join(folder, 'interface-program.js');
  writeFileSync(script, '// No shop is visited here.\n');
  keyStore = kind === 'file' ? ['--folder', folder] : await fillToken(join(folder, 'pin'));
  world = await startWorld({ folder, merged: true, events: { onJournal: () => undefined, onSignature: () => undefined } }, () => Promise.resolve(script));
}

/** Master keys in a token: what the servers are told by their environment, and commands by options. */
async function fillToken(pinFile: string): Promise<string[]> {
  token = createSoftToken();
  writeFileSync(pinFile, TOKEN_PIN, { mode: 0o600 });
  Object.assign(process.env, { KESSAI_PKCS11_MODULE: token.module, KESSAI_PKCS11_TOKEN: TOKEN_LABEL, KESSAI_PKCS11_PIN_FILE: pinFile });
  const options = ['--module', token.module, '--token', TOKEN_LABEL, '--pin-file', pinFile];
  expect(await run('master-keys', '--add-version', ...options)).toMatchObject({ code: 0 });
  return options;
}

async function end(): Promise<void> {
  for (const card of cards.splice(0)) await card.close();
  await world.stop();
  token?.remove();
  token = undefined;
  for (const name of ['KESSAI_PKCS11_MODULE', 'KESSAI_PKCS11_TOKEN', 'KESSAI_PKCS11_PIN_FILE']) Reflect.deleteProperty(process.env, name);
  rmSync(folder, { recursive: true, force: true });
}

const roundsOf = ({ errors }: Ended): number => errors.match(/round/g)?.length ?? 0;

/** What card-show answered when the card got newer keys. */
async function untilRekeyed(): Promise<Ended> {
  for (;;) {
    const shown = await atDesk('card-show');
    if (shown.code !== 0 || roundsOf(shown) > 2) return shown;
  }
}

describe.each(['file', 'token'] as const)('at the desk, with the master keys in a %s', (kind) => {
  beforeAll(() => start(kind), LIMIT_MS);
  afterAll(end);

  test('a card is issued, loaded, shown, re-keyed, blocked and replaced, and its receipt holds', { timeout: LIMIT_MS }, async () => {
    const first = await newCard('first');
    await first.insert();
    expect(await atDesk('card-issue', '--balance', '3000')).toMatchObject({ code: 0, json: { cardId: first.cardId, balanceMinor: '3000', activationCode: null, enrolmentCode: expect.stringMatching(CODE) as string } });
    expect(await atDesk('card-load', '--amount', '500')).toMatchObject({ code: 0, json: { kind: 'load', balanceAfterMinor: '3500', decided: [] } });
    expect(await run('master-keys', '--add-version', ...keyStore, '--json')).toMatchObject({ code: 0, json: { added: 2 } });
    // Two rounds are enough until the servers notice; a token is asked for its versions again after some seconds.
    const shown = await untilRekeyed();
    expect(shown).toMatchObject({ code: 0, json: { balanceMinor: '3500', account: { state: 'active', ledgerMinor: '3500', open: [] }, records: [{ amountMinor: '500' }, { amountMinor: '3000' }, { amountMinor: '0' }] } });
    expect(roundsOf(await atDesk('card-show'))).toBe(2);
    expect(await atDesk('card-block', '--card', first.cardId)).toMatchObject({ code: 0, json: { account: { state: 'blocked', movableMinor: '3500' } } });
    expect(await atDesk('card-load', '--amount', '1')).toMatchObject({ code: 1, errors: expect.stringContaining('card/blocked') as string });
    expect(first.balanceMinor()).toBe(3_500n);
    await first.lift();

    const second = await newCard('second', 'ev3');
    await second.insert();
    expect(await atDesk('card-issue', '--balance', '0', '--bearer')).toMatchObject({ code: 0, json: { cardId: second.cardId, enrolmentCode: null, activationCode: expect.stringMatching(CODE) as string } });
    expect(await atDesk('card-load', '--amount', '3500', '--from-lost', first.cardId)).toMatchObject({ code: 0, json: { kind: 'replace', lostCardId: first.cardId, balanceAfterMinor: '3500' } });
    expect(await atDesk('card-load', '--amount', '1', '--from-lost', first.cardId)).toMatchObject({ code: 1, errors: expect.stringContaining('operator/balance') as string });
    expect(second.balanceMinor()).toBe(3_500n);
    expect(await atDesk('card-show', '--card', first.cardId)).toMatchObject({ code: 0, json: { account: { ledgerMinor: '0', movableMinor: '0' } } });
    await second.lift();
  });

  test('a receipt is checked field by field and byte by byte', { timeout: LIMIT_MS }, async () => {
    const card = await newCard('third');
    await card.insert();
    await atDesk('card-issue', '--balance', '0');
    const { json } = await atDesk('card-load', '--amount', '700');
    await card.lift();
    const out = join(folder, 'receipt.json');
    expect(await atServers('receipt', '--payment', String(json['paymentId']), '--out', out)).toMatchObject({ code: 0 });
    expect(await verify(out)).toMatchObject({ code: 0, json: { genuine: true } });
    const receipt = readFileSync(out, 'utf8');
    writeFileSync(out, receipt.replace('"amountMinor":"700"', '"amountMinor":"701"'));
    expect(await verify(out)).toMatchObject({ code: 1, json: { genuine: false } });
    writeFileSync(out, receipt.slice(0, -3));
    expect(await verify(out)).toMatchObject({ code: 1 });
  });

  if (kind === 'file') test('an opening balance that is refused, or a code that is lost, leaves no card without a way on', { timeout: LIMIT_MS }, async () => {
    const card = await newCard('fourth');
    await card.insert();
    const issued = await atDesk('card-issue', '--limit', '2000000000', '--balance', '1500000000', '--bearer');
    expect(issued).toMatchObject({ code: 1, json: { cardId: card.cardId, balanceMinor: null, loadFailure: 'operator/limit', activationCode: expect.stringMatching(CODE) as string }, errors: expect.stringContaining('npm run card-show') as string });
    expect(await atDesk('card-issue', '--limit', '2000000000', '--balance', '0', '--bearer')).toMatchObject({ code: 1, errors: expect.stringContaining('npm run customer-code') as string });
    const again = await atServers('customer-code', '--card', card.cardId);
    expect(again).toMatchObject({ code: 0, json: { cardId: card.cardId, activationCode: expect.stringMatching(CODE) as string } });
    expect(again.json['activationCode']).not.toBe(issued.json['activationCode']);
    await card.lift();

    const mine = await newCard('fifth');
    await mine.insert();
    const { json } = await atDesk('card-issue', '--balance', '10');
    expect(json).toMatchObject({ balanceMinor: '10', loadFailure: null });
    expect(await atServers('customer-code', '--customer', String(json['customerId']))).toMatchObject({ code: 0, json: { customerId: json['customerId'], enrolmentCode: expect.stringMatching(CODE) as string } });
    expect(await atServers('customer-code', '--card', mine.cardId)).toMatchObject({ code: 1, json: {}, errors: expect.stringContaining('has a customer already') as string });
    expect(await atServers('customer-code', '--customer', '6f9619ff-8b86-4011-b42d-00c04fc964ff')).toMatchObject({ code: 1, json: {}, errors: expect.stringContaining('customer/unknown') as string });
    await mine.lift();
  });

  if (kind === 'file') test('wrong options are named, and nothing is done', { timeout: LIMIT_MS }, async () => {
    expect(await atDesk('card-load', '--amount', '0')).toMatchObject({ code: 2 });
    expect(await atDesk('card-load', '--amount', '5', '--count-not-debited', '6f9619ff-8b86-4011-b42d-00c04fc964ff')).toMatchObject({ code: 2 });
    expect(await atDesk('card-block')).toMatchObject({ code: 2 });
    expect(await atDesk('card-block', '--card', '0411')).toMatchObject({ code: 2 });
    expect(await atDesk('card-issue', '--balance', '0', '--bearer', '--name', 'Hanako')).toMatchObject({ code: 2 });
    expect(await atDesk('card-issue', '--balance', '60000')).toMatchObject({ code: 2, errors: expect.stringContaining('--limit') as string });
    expect(await atServers('customer-code')).toMatchObject({ code: 2 });
    expect(await atServers('customer-code', '--card', '04EEEEEEEEEEEE', '--customer', '6f9619ff-8b86-4011-b42d-00c04fc964ff')).toMatchObject({ code: 2 });
    expect(await verify(join(folder, 'pki', 'root.crt'))).toMatchObject({ code: 1, errors: expect.stringContaining('is no receipt') as string });
    expect(await verify(join(folder, 'nowhere'))).toMatchObject({ code: 1, errors: expect.stringContaining('there is no file') as string });
    expect(await atDesk('card-show', '--card', '04EEEEEEEEEEEE')).toMatchObject({ code: 1, errors: expect.stringContaining('card/not-issued') as string });
    expect(await run('card-show', '--folder', join(folder, 'nowhere'))).toMatchObject({ code: 1, errors: expect.stringContaining('npm start') as string });
  });
});
