import { expect, test, vi } from 'vitest';
import { examine } from './page-doctor.ts';
import type { ReadersPageState } from './page-state.ts';
import { readerRows } from './reader-rows.ts';
import { reportText } from './report.ts';

vi.mock('webextension-polyfill', async () => (await import('../messages.fixture.ts')).polyfillWith('en'));

const environment = { system: 'linux', browser: 'Chromium 156', roads: { webusb: true, webhid: false }, version: '0.1.0' } as const;
const program = { kind: 'running', version: '0.1.0', platform: 'linux', problem: null, findings: [{ id: 'pcsc-reader', state: 'ok', seen: 'OMNIKEY 5022 (KN5022012345) 00 00' }] } as const;
const rows = readerRows({
  system: 'linux',
  paired: [{ id: 'device-1', kind: 'rc-s300', name: 'Sony PaSoRi RC-S300 (FeliCa Port/PaSoRi 4.0)', driverName: 'x', isConnected: true, isKept: false }],
  devices: [{ name: 'x', state: 'empty', problem: 'reader/permission' }],
  program: [{ name: 'OMNIKEY 5022 (KN5022012345) 00 00', state: 'present' }],
});
const state: ReadersPageState = {
  environment,
  program,
  rows,
  families: [],
  findings: examine({ environment, program, rows }),
  trial: { rowId: 'x', readerName: 'OMNIKEY 5022 (KN5022012345) 00 00', step: 'done', result: { card: 'payment', uid: '7-byte', ending: 'E5F6', medianMs: 1.25, rounds: 9 } },
  refused: null,
  copied: null,
  copyRefused: null,
};

test('the report is plain text with everything that support asks for', () => {
  expect(reportText(state)).toBe(`Kessai reader report
extension: 0.1.0
browser: Chromium 156
system: linux
WebUSB: yes, WebHID: no
reader program: 0.1.0 (linux)

readers: 2
- Sony PaSoRi RC-S300 (FeliCa Port/PaSoRi 4.0) | rc-s300 | webusb | blocked | reader/permission
- OMNIKEY 5022 (...) 00 00 | pcsc | native | card

findings:
- [problem] device-access: Right to open the reader (Sony PaSoRi RC-S300 (FeliCa Port/PaSoRi 4.0)): This computer does not let the browser open the reader.
- [unknown] web-hid: WebHID: MagTek, ID TECH and APDU-over-HID readers without any program: This browser does not have it, or it is switched off here.
- [ok] web-usb: WebUSB: Sony PaSoRi readers without any program: This browser has it.
- [ok] host-answers: Reader program starts and answers: The reader program runs, version 0.1.0.
- [ok] pcsc-reader: Reader on the PC/SC service: OMNIKEY 5022 (...) 00 00

test: OMNIKEY 5022 (...) 00 00: card payment, UID 7-byte, median 1.3 ms of 9
`);
});

test('no card number and no serial number leaves the page', () => {
  const text = reportText(state);
  expect(text).not.toContain('E5F6');
  expect(text).not.toContain('KN5022012345');
});

test('a program that does not run is told with its code', () => {
  expect(reportText({ ...state, program: { kind: 'failed', code: 'host/missing' }, trial: null })).toContain('reader program: host/missing (The reader program');
});
