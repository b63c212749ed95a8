/** The pairing page in the states in which it looks different, made by its own logic from what the browser could report. */
import type { Finding } from '#bridge/doctor-findings.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import { examine, type ProgramState } from '../../../extension/readers/page-doctor.ts';
import { addableFamilies, readerRows } from '../../../extension/readers/reader-rows.ts';
import type { ReadersPageState, Trial } from '../../../extension/readers/page-state.ts';
import type { Environment, PairedReader } from '../../../extension/readers/readers-page-ports.ts';
import type { ReadersName } from './readers-names.ts';

const chromium: Environment = { system: 'linux', browser: 'Chromium 156', roads: { webusb: true, webhid: true }, version: '0.1.0' };
const windows: Environment = { ...chromium, system: 'windows' };
const chromeos: Environment = { ...chromium, system: 'chromeos' };
const firefox: Environment = { ...chromium, browser: 'Firefox 153', roads: { webusb: false, webhid: false } };

const pasori: PairedReader = { id: 'device-1', kind: 'rc-s300', name: 'Sony PaSoRi RC-S300 (FeliCa Port/PaSoRi 4.0)', driverName: 'SONY RC-S300', isConnected: true, isKept: false };
const port100: PairedReader = { id: 'device-2', kind: 'rc-s380', name: 'Sony PaSoRi RC-S380 (RC-S380/P)', driverName: 'SONY RC-S380/P', isConnected: true, isKept: true };
const dynaFlex: PairedReader = { id: 'away-magtek', kind: 'magtek', name: 'MagTek DynaFlex, DynaProx (DynaFlex II)', driverName: undefined, isConnected: false, isKept: undefined };
const kiosk: PairedReader = { id: 'away-vivotech', kind: 'vivotech', name: 'ID TECH ViVOpay (Kiosk IV)', driverName: undefined, isConnected: false, isKept: true };
const omnikey = 'HID Global OMNIKEY 5022 Smart Card Reader [OMNIKEY 5022 Smart Card Reader] (KN5022012345) 00 00';

const found: readonly Finding[] = [
  { id: 'pcsc-service', state: 'ok', seen: 'pcscd answers.' },
  { id: 'pcsc-reader', state: 'ok', seen: omnikey },
  { id: 'pn533', state: 'problem', seen: 'The kernel has loaded pn533_usb.' },
];
const running = (findings: readonly Finding[] = []): ProgramState => ({ kind: 'running', version: '0.1.0', platform: 'linux', problem: null, findings });
const failed = (code: 'host/missing' | 'host/version' | 'connector/missing'): ProgramState => ({ kind: 'failed', code });

interface Sample {
  readonly environment?: Environment;
  readonly program?: ProgramState;
  readonly paired?: readonly PairedReader[];
  readonly devices?: readonly ReaderInfo[];
  readonly pcsc?: readonly ReaderInfo[];
  readonly trial?: Trial;
  readonly refused?: ReadersPageState['refused'];
  readonly copied?: ReadersPageState['copied'];
  readonly copyRefused?: ReadersPageState['copyRefused'];
}

function stateOf({ environment = chromium, program = failed('host/missing'), paired = [], devices = [], pcsc = [], trial, refused = null, copied = null, copyRefused = null }: Sample): ReadersPageState {
  const rows = readerRows({ system: environment.system, paired, devices, program: pcsc });
  return { environment, program, rows, families: addableFamilies(environment.system, environment.roads), findings: examine({ environment, program, rows }), trial: trial ?? null, refused, copied, copyRefused };
}

const onPasori = { rowId: pasori.id, readerName: pasori.name } as const;
const pasoriLive = (state: ReaderInfo['state'], problem?: ReaderInfo['problem']): ReaderInfo => ({ name: 'SONY RC-S300', state, problem });

export function createReadersSamples(): Record<ReadersName, ReadersPageState> {
  return {
    'readers-none': stateOf({}),
    'readers-starting': stateOf({ program: { kind: 'starting' } }),
    'readers-paired': stateOf({ program: running(found), paired: [pasori, dynaFlex, kiosk], devices: [pasoriLive('empty')], pcsc: [{ name: omnikey, state: 'present' }] }),
    'readers-well': stateOf({ program: running(), pcsc: [{ name: 'ACS ACR1252 1S CL Reader PICC 0', state: 'empty' }] }),
    'readers-old-program': stateOf({ environment: windows, program: failed('host/version') }),
    'readers-permission': stateOf({ paired: [pasori, port100], devices: [pasoriLive('empty', 'reader/permission'), { name: 'SONY RC-S380/P', state: 'empty', problem: 'reader/driver' }] }),
    'readers-windows': stateOf({ environment: windows, paired: [pasori], devices: [pasoriLive('in-use', 'reader/in-use')], refused: { kind: 'magtek', code: 'reader/permission' }, copied: 'report' }),
    'readers-testing': stateOf({ paired: [pasori], devices: [pasoriLive('empty')], trial: { ...onPasori, step: 'waiting' } }),
    'readers-tested': stateOf({ paired: [pasori], devices: [pasoriLive('present')], trial: { ...onPasori, step: 'done', result: { card: 'payment', uid: '7-byte', ending: 'E5F6', medianMs: 8.42, rounds: 9 } } }),
    'readers-test-failed': stateOf({ paired: [pasori], devices: [pasoriLive('present')], trial: { ...onPasori, step: 'failed', code: 'card/unsupported' } }),
    'readers-chromeos': stateOf({ environment: chromeos, program: failed('connector/missing'), copyRefused: { what: 'report', text: 'Kessai reader report\nextension: 0.1.0\nbrowser: Chromium 156\nsystem: chromeos\n' } }),
    'readers-firefox': stateOf({ environment: firefox, program: running(), pcsc: [{ name: 'ACS ACR122U PICC Interface 00 00', state: 'mute' }] }),
    'readers-firefox-bare': stateOf({ environment: firefox }),
  };
}
