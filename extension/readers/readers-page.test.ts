import { expect, test, vi } from 'vitest';
import type { Finding } from '#bridge/doctor-findings.ts';
import type { ReaderInfo, ReaderSource } from '#bridge/reader-source.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import type { ReadersPageState } from './page-state.ts';
import { openReadersPage } from './readers-page.ts';
import { createAttendedReaders } from '../ports/attended-readers.ts';
import type { ReaderProgram } from '../ports/reader-program.ts';
import type { PairedReader, ReadersPagePorts } from './readers-page-ports.ts';

vi.mock('webextension-polyfill', async () => (await import('../messages.fixture.ts')).polyfillWith('en'));

const ACS = 'ACS ACR1252';
const pasori: PairedReader = { id: 'device-1', kind: 'rc-s300', name: 'Sony PaSoRi RC-S300', driverName: 'SONY RC-S300', isConnected: true, isKept: true };
const settled = () => new Promise((resolve) => setImmediate(resolve));

function createSource(readers: readonly ReaderInfo[]) {
  const callbacks = new Set<(readers: readonly ReaderInfo[]) => void>();
  const source = {
    readers,
    problem: undefined as Failure | undefined,
    onReaders: (callback: (readers: readonly ReaderInfo[]) => void) => {
      callbacks.add(callback);
      return () => void callbacks.delete(callback);
    },
    connect: vi.fn<ReaderSource['connect']>(() => Promise.reject(new Failure('card/silent'))),
    close: vi.fn(() => Promise.resolve()),
  };
  const move = (changed: readonly ReaderInfo[], problem?: FailureCode): void => {
    source.readers = changed;
    source.problem = problem === undefined ? undefined : new Failure(problem);
    for (const callback of [...callbacks]) callback(changed);
  };
  return { source, move };
}

function createPage({ findings = [] as readonly Finding[] } = {}) {
  const program = createSource([{ name: ACS, state: 'empty' }]);
  const diagnose = vi.fn<ReaderProgram['diagnose']>(() => Promise.resolve(findings));
  const host: ReaderProgram = { source: program.source, version: '0.1.0', platform: 'linux', diagnose };
  const devices = createSource([]);
  const openDevices = vi.fn(() => devices.source);
  const paired: PairedReader[] = [];
  let plugged: () => void = () => undefined;
  const ports = {
    environment: { system: 'linux', browser: 'Chromium 156', roads: { webusb: true, webhid: true }, version: '0.1.0' },
    pairing: {
      list: vi.fn(() => Promise.resolve([...paired])),
      pair: vi.fn<ReadersPagePorts['pairing']['pair']>(() => Promise.resolve(paired.push(pasori) > 0 ? 'paired' : 'cancelled')),
      forget: vi.fn(() => Promise.resolve(void paired.splice(0))),
      onChange: (callback: () => void) => {
        plugged = callback;
        return vi.fn();
      },
    },
    openProgram: vi.fn<ReadersPagePorts['openProgram']>(() => Promise.resolve(host)),
    devices: { readers: createAttendedReaders(openDevices), lookAgain: vi.fn() },
    copy: vi.fn<ReadersPagePorts['copy']>(() => Promise.resolve()),
    now: () => 0,
  } satisfies ReadersPagePorts;
  const states: ReadersPageState[] = [];
  const open = () => openReadersPage(ports, (state) => states.push(state));
  return { ports, open, diagnose, program, devices, openDevices, paired, states, plug: () => plugged() };
}

test('it starts the program, shows its readers, and then what its doctor found', async () => {
  const found: Finding = { id: 'pcsc-service', state: 'ok', seen: 'pcscd answers.' };
  const { open, states } = createPage({ findings: [found] });
  const page = open();
  expect(page.state.program).toEqual({ kind: 'starting' });
  await settled();
  expect(page.state.program).toMatchObject({ kind: 'running', version: '0.1.0', findings: [found] });
  expect(page.state.rows.map(({ name, state }) => [name, state])).toEqual([[ACS, 'ready']]);
  expect(states.at(-1)).toBe(page.state);
});

test('a reader is followed as it comes, is used and goes', async () => {
  const { open, program } = createPage();
  const page = open();
  await settled();
  program.move([{ name: ACS, state: 'present' }]);
  expect(page.state.rows[0]?.state).toBe('card');
  program.move([]);
  expect(page.state.rows).toEqual([]);
});

test('a program that is missing, or dies, is told, and started again only when asked', async () => {
  const { open, ports, program } = createPage();
  ports.openProgram.mockRejectedValueOnce(new Failure('host/missing'));
  const page = open();
  await settled();
  expect(page.state.program).toEqual({ kind: 'failed', code: 'host/missing' });
  await page.lookAgain();
  expect(page.state.program.kind).toBe('running');
  program.move([], 'host/failed');
  expect(page.state.program).toEqual({ kind: 'failed', code: 'host/failed' });
  await settled();
  expect(ports.openProgram).toHaveBeenCalledTimes(2);
});

test('a program whose doctor fails serves readers all the same', async () => {
  const { open, diagnose } = createPage();
  diagnose.mockRejectedValueOnce(new Failure('host/failed'));
  const complaint = vi.spyOn(console, 'error').mockReturnValue();
  const page = open();
  await settled();
  expect(page.state.program).toMatchObject({ kind: 'running', findings: [] });
  expect(complaint).toHaveBeenCalledOnce();
  complaint.mockRestore();
});

test('pairing adds a row, and has the drivers look anew; a closed chooser changes nothing', async () => {
  const { open, ports } = createPage();
  const page = open();
  await page.pair('rc-s300');
  expect(page.state.rows[0]).toMatchObject({ id: 'device-1', state: 'connected' });
  expect(ports.devices.lookAgain).toHaveBeenCalledOnce();
  ports.pairing.pair.mockResolvedValueOnce('cancelled');
  await page.pair('rc-s380');
  expect(page.state.refused).toBeNull();
  expect(page.state.rows.filter(({ kind }) => kind !== 'pcsc')).toHaveLength(1);
  expect(ports.devices.lookAgain).toHaveBeenCalledOnce();
});

test('a refusal of the browser is told at its family until the next try', async () => {
  const { open, ports } = createPage();
  const page = open();
  ports.pairing.pair.mockRejectedValueOnce(new Failure('reader/permission'));
  await page.pair('magtek');
  expect(page.state.refused).toEqual({ kind: 'magtek', code: 'reader/permission' });
  await page.pair('magtek');
  expect(page.state.refused).toBeNull();
});

test('paired readers are driven only while the page is looked at, and matched with their rows', async () => {
  const { open, openDevices, devices, paired } = createPage();
  paired.push(pasori);
  const page = open();
  await settled();
  expect(openDevices).not.toHaveBeenCalled();
  page.attend(true);
  page.attend(true);
  expect(openDevices).toHaveBeenCalledOnce();
  devices.move([{ name: 'SONY RC-S300', state: 'empty', problem: 'reader/permission' }]);
  await settled();
  expect(page.state.rows[0]).toMatchObject({ state: 'blocked', problem: 'reader/permission', advice: ['device-access'] });
  page.attend(false);
  expect(devices.source.close).toHaveBeenCalledOnce();
  expect(page.state.rows[0]).toMatchObject({ state: 'connected' });
});

test('plugging in and out lists the paired readers anew; forgetting takes one away', async () => {
  const { open, paired, plug, ports } = createPage();
  const page = open();
  paired.push(pasori);
  plug();
  await settled();
  expect(page.state.rows[0]?.id).toBe('device-1');
  await page.forget('device-1');
  expect(ports.pairing.forget).toHaveBeenCalledWith('device-1');
  expect(page.state.rows.map(({ id }) => id)).toEqual([`pcsc-${ACS}`]);
});

test('a test waits for a card, tells how it ends, and can be stopped', async () => {
  const { open, program } = createPage();
  const page = open();
  await settled();
  const trial = page.startTrial(`pcsc-${ACS}`);
  expect(page.state.trial).toMatchObject({ step: 'waiting', readerName: ACS });
  program.move([{ name: ACS, state: 'present' }]);
  await trial;
  expect(page.state.trial).toMatchObject({ step: 'failed', code: 'card/silent' });
  program.move([{ name: ACS, state: 'empty' }]);
  const second = page.startTrial(`pcsc-${ACS}`);
  page.stopTrial();
  await second;
  expect(page.state.trial).toBeNull();
});

test('a test that still waits ends when nobody looks: the card is then meant for somebody else', async () => {
  const { open, program } = createPage();
  const page = open();
  await settled();
  page.attend(true);
  const trial = page.startTrial(`pcsc-${ACS}`);
  page.attend(false);
  await trial;
  program.move([{ name: ACS, state: 'present' }]);
  expect(page.state.trial).toBeNull();
  expect(program.source.connect).not.toHaveBeenCalled();
});

test('the report and the command are copied, and the page says so', async () => {
  const { open, ports } = createPage();
  const page = open();
  await settled();
  await page.copyCommand('npx kessai-host install');
  expect(page.state.copied).toBe('command');
  await page.copyReport();
  expect(page.state.copied).toBe('report');
  expect(ports.copy.mock.calls.map(([text]) => text.split('\n')[0])).toEqual(['npx kessai-host install', 'Kessai reader report']);
});

test('a browser that refuses to copy is told, and the text is shown until the next copy', async () => {
  const { open, ports } = createPage();
  const complaint = vi.spyOn(console, 'error').mockReturnValue();
  const page = open();
  ports.copy.mockRejectedValueOnce(new DOMException('no', 'NotAllowedError'));
  await page.copyReport();
  expect(page.state).toMatchObject({ copied: null, copyRefused: { what: 'report', text: expect.stringContaining('Kessai reader report') as string } });
  await page.copyReport();
  expect(page.state).toMatchObject({ copied: 'report', copyRefused: null });
  complaint.mockRestore();
});

test('a Smart Card Connector that stops is told as such', async () => {
  const { open, ports, program } = createPage();
  ports.openProgram.mockResolvedValueOnce({ source: program.source, version: null, platform: 'chromeos', diagnose: () => Promise.resolve([]) });
  const page = open();
  await settled();
  expect(page.state.program).toMatchObject({ kind: 'running', version: null });
  program.move([], 'connector/failed');
  expect(page.state.program).toEqual({ kind: 'failed', code: 'connector/failed' });
});

test('closing gives everything back, also a program that starts afterwards', async () => {
  const { open, ports, program, devices, states } = createPage();
  const page = open();
  page.attend(true);
  page.close();
  const shown = states.length;
  await settled();
  expect(program.source.close).toHaveBeenCalled();
  expect(devices.source.close).toHaveBeenCalled();
  expect(ports.pairing.list).toHaveBeenCalled();
  expect(states.length).toBe(shown);
});
