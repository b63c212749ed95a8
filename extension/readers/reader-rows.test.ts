import { expect, test } from 'vitest';
import type { OperatingSystem } from '#bridge/reader-registry.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import type { FailureCode } from '#protocol/failure.ts';
import { addableFamilies, deviceTitles, programOnlyTitles, readerRows, type KnownToUs } from './reader-rows.ts';
import type { PairedReader } from './readers-page-ports.ts';

const pasori: PairedReader = { id: 'device-1', kind: 'rc-s300', name: 'Sony PaSoRi RC-S300', driverName: 'SONY RC-S300', isConnected: true, isKept: true };
const nothing: KnownToUs = { system: 'linux', paired: [], devices: [], program: [] };
const live = (state: ReaderInfo['state'], problem?: FailureCode, name = 'SONY RC-S300'): ReaderInfo => ({ name, state, problem });
const rowOf = (known: Partial<KnownToUs>) => readerRows({ ...nothing, ...known })[0];

test.each<[ReaderInfo, string, string | null, FailureCode | null]>([
  [live('empty'), 'ready', 'test', null],
  [live('present'), 'card', 'test', null],
  [live('mute', 'card/several'), 'mute', 'test', 'card/several'],
  [live('mute'), 'mute', 'test', 'card/silent'],
  [live('in-use', 'reader/in-use'), 'in-use', 'look-again', 'reader/in-use'],
  [live('in-use'), 'in-use', 'look-again', 'reader/in-use'],
  [live('empty', 'reader/permission'), 'blocked', 'look-again', 'reader/permission'],
])('a live reader that says %o is %s, and its button is %s', (info, state, act, problem) => {
  expect(rowOf({ paired: [pasori], devices: [info] })).toMatchObject({ state, act, problem, sourceName: info.name });
  expect(rowOf({ program: [info] })).toMatchObject({ kind: 'pcsc', road: 'native', state, act, problem, canForget: false });
});

test.each<[boolean, boolean | undefined, string, string | null]>([
  [true, true, 'connected', null],
  [false, true, 'away', null],
  [false, false, 'forgotten', 'pair'],
  [false, undefined, 'away-or-forgotten', 'pair'],
])('a paired reader (connected %s, kept %s) without news is %s, and its button is %s', (isConnected, isKept, state, act) => {
  expect(rowOf({ paired: [{ ...pasori, isConnected, isKept }] })).toMatchObject({ state, act, sourceName: null, canForget: true });
});

test('two readers of one name are two rows, each with its own news', () => {
  const second = { ...pasori, id: 'device-2' };
  const rows = readerRows({ ...nothing, paired: [pasori, second], devices: [live('empty'), live('present', undefined, 'SONY RC-S300 (2)')] });
  expect(rows.map(({ state, sourceName }) => [state, sourceName])).toEqual([['ready', 'SONY RC-S300'], ['card', 'SONY RC-S300 (2)']]);
});

test('a name that only begins alike is another reader', () => {
  expect(rowOf({ paired: [pasori], devices: [live('present', undefined, 'SONY RC-S300 (other)')] })).toMatchObject({ state: 'connected' });
});

test.each<[OperatingSystem, PairedReader['kind'], ReaderInfo, string[]]>([
  ['linux', 'rc-s300', live('empty', 'reader/permission'), ['device-access']],
  ['windows', 'rc-s300', live('empty', 'reader/permission'), ['not-winusb']],
  ['macos', 'rc-s300', live('empty', 'reader/permission'), []],
  ['linux', 'rc-s380', live('empty', 'reader/driver'), ['port100']],
  ['windows', 'rc-s380', live('empty', 'reader/driver'), ['not-winusb']],
  ['macos', 'rc-s300', live('in-use', 'reader/in-use'), ['shared-with-pcsc']],
  ['windows', 'vivotech', live('empty', 'reader/failed'), ['pass-through-locked']],
  ['linux', 'rc-s300', live('empty'), []],
])('on %s, %s with %o gets the advice %o', (system, kind, info, advice) => {
  expect(rowOf({ system, paired: [{ ...pasori, kind }], devices: [info] })?.advice).toEqual(advice);
});

test('a reader that the browser forgets says so while it still works', () => {
  expect(rowOf({ paired: [{ ...pasori, isKept: false }], devices: [live('empty')] })?.advice).toEqual(['permission-forgotten']);
});

test('only families whose road this browser has can be added, with what is known to go wrong on this system', () => {
  expect(addableFamilies('linux', { webusb: false, webhid: false })).toEqual([]);
  expect(addableFamilies('linux', { webusb: true, webhid: false }).map(({ kind }) => kind)).toEqual(['rc-s300', 'rc-s380']);
  const all = addableFamilies('windows', { webusb: true, webhid: true });
  expect(all.map(({ kind }) => kind)).toEqual(['rc-s300', 'rc-s380', 'magtek', 'vivotech', 'apdu-hid']);
  expect(all[0]?.troubles).toEqual(['not-winusb', 'shared-with-pcsc']);
  expect(addableFamilies('other', { webusb: true, webhid: true })[0]?.troubles).toEqual([]);
});

test('every known reader is named either as the browser\'s own or as the program\'s', () => {
  expect(deviceTitles()).toContain('Sony PaSoRi RC-S300');
  expect(programOnlyTitles()).toContain('HID OMNIKEY');
});
