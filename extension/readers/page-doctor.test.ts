import { expect, test, vi } from 'vitest';
import { examine, fixKey, problemKey, type ProgramState } from './page-doctor.ts';
import { readerRows } from './reader-rows.ts';
import type { Environment, PairedReader } from './readers-page-ports.ts';

vi.mock('webextension-polyfill', async () => (await import('../messages.fixture.ts')).polyfillWith('en'));

const chromium: Environment = { system: 'linux', browser: 'Chromium 156', roads: { webusb: true, webhid: true }, version: '0.1.0' };
const firefox: Environment = { ...chromium, roads: { webusb: false, webhid: false } };
const running: ProgramState = { kind: 'running', version: '0.1.0', platform: 'linux', problem: null, findings: [] };
const pasori: PairedReader = { id: 'device-1', kind: 'rc-s300', name: 'RC-S300', driverName: 'x', isConnected: true, isKept: true };
const rows = (problem?: 'reader/permission') => readerRows({ system: 'linux', paired: [pasori], devices: [{ name: 'x', state: 'empty', problem }], program: [] });
const brief = (findings: ReturnType<typeof examine>) => findings.map(({ id, state }) => `${id} ${state}`);

test('Firefox has neither road: worth knowing, and no problem', () => {
  expect(brief(examine({ environment: firefox, program: running, rows: [] }))).toEqual(['web-usb unknown', 'web-hid unknown', 'host-answers ok']);
});

test('a missing program is a problem only while no reader serves without it', () => {
  const program: ProgramState = { kind: 'failed', code: 'host/missing' };
  expect(brief(examine({ environment: chromium, program, rows: [] }))[0]).toBe('host-registered problem');
  expect(brief(examine({ environment: chromium, program, rows: rows() }))[0]).toBe('host-registered unknown');
  expect(brief(examine({ environment: chromium, program, rows: rows('reader/permission') }))).toContain('host-registered problem');
});

test.each([
  ['host/version', 'host-version problem'],
  ['host/failed', 'host-answers problem'],
  ['host/malformed', 'host-answers problem'],
] as const)('%s is the finding %s', (code, finding) => {
  expect(brief(examine({ environment: chromium, program: { kind: 'failed', code }, rows: [] }))[0]).toBe(finding);
});

test('what the program finds is told in its words, problems first, and nothing twice', () => {
  const findings = [
    { id: 'pcsc-service', state: 'problem', seen: 'pcscd does not run.' },
    { id: 'host-answers', state: 'ok', seen: 'here I am' },
  ] as const;
  const examined = examine({ environment: chromium, program: { ...running, problem: 'reader/no-service', findings }, rows: [] });
  expect(brief(examined)).toEqual(['pcsc-service problem', 'web-usb ok', 'web-hid ok', 'host-answers ok']);
  expect(examined[0]?.seen).toBe('pcscd does not run.');
});

test('a program without a doctor still tells that the service does not run', () => {
  expect(brief(examine({ environment: chromium, program: { ...running, problem: 'reader/no-service' }, rows: [] }))[0]).toBe('pcsc-service problem');
});

test('a program that is being started is no finding', () => {
  expect(brief(examine({ environment: chromium, program: { kind: 'starting' }, rows: [] }))).toEqual(['web-usb ok', 'web-hid ok']);
});

test('a reader with a problem is a finding with its name, before a program that is missing', () => {
  expect(brief(examine({ environment: chromium, program: { kind: 'failed', code: 'host/missing' }, rows: rows('reader/permission') })).slice(0, 2)).toEqual(['device-access problem', 'host-registered problem']);
  expect(examine({ environment: chromium, program: running, rows: rows('reader/permission') })[0]).toEqual({ id: 'device-access', state: 'problem', about: 'RC-S300', seen: { key: 'seenNoPermission', values: [] } });
});

test('no problem sends people to the page that they are on', () => {
  expect(problemKey('reader/permission')).toBe('seenNoPermission');
  expect(problemKey('reader/driver')).toBe('seenOtherDriver');
  expect(problemKey('card/several')).toBe('failure_card_several');
});

test('a fix is the system\'s own where there is one, else everybody\'s, else none', () => {
  expect(fixKey('pcsc-service', 'windows')).toBe('fix_pcsc_service_windows');
  expect(fixKey('shared-with-pcsc', 'macos')).toBe('fix_shared_with_pcsc');
  expect(fixKey('port100', 'windows')).toBeUndefined();
  expect(fixKey('pcsc-service', 'other')).toBeUndefined();
});

test.each<[ProgramState, string]>([
  [{ ...running, version: null, platform: 'chromeos' }, 'pcsc-service ok'],
  [{ ...running, version: null, platform: 'chromeos', problem: 'reader/no-service' }, 'pcsc-service problem'],
  [{ kind: 'failed', code: 'connector/missing' }, 'pcsc-service problem'],
  [{ kind: 'failed', code: 'connector/failed' }, 'pcsc-service problem'],
  [{ kind: 'failed', code: 'connector/refused' }, 'extension-allowed problem'],
])('on ChromeOS the Smart Card Connector is the service: %o', (program, finding) => {
  const examined = examine({ environment: { ...chromium, system: 'chromeos' }, program, rows: [] });
  expect(brief(examined)).toContain(finding);
  expect(examined.map(({ id }) => id).filter((id) => id.startsWith('host-'))).toEqual([]);
  for (const { id } of examined.filter(({ state }) => state === 'problem')) expect(fixKey(id, 'chromeos')).toMatch(/_chromeos$/);
});
