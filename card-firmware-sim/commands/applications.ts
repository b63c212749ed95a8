/** The applications of an EV2 or EV3: select, create, delete and list them. */
import { applicationBytes, freeBytes } from '../memory-use.ts';
import { concatBytes, encodeUintLE, equalBytes, parseUintLE } from '#protocol/bytes.ts';
import { dropSession, MAC_BOTH_WAYS, requireMasterSession } from '../command.ts';
import { KEY_SETTING } from '../card-image.ts';
import { requireCardLevel, requireCreateDelete, requireListing } from './management.ts';
import { STATUS, StatusError } from '../status.ts';
import { ZERO_BLOCK } from '../crypto.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication } from '../card-image.ts';
import type { HandshakeCommand, SecuredCommand } from '../command.ts';

const AID_BYTES = 3;
/** The card level, as SelectApplication names it. */
const CARD_LEVEL = 0;

/** Always in plain, also under a session, which it ends. */
export const selectApplication: HandshakeCommand = {
  instruction: 0x5a,
  // eslint-disable-next-line @typescript-eslint/require-await -- a refusal here must be a rejection, as of every other command
  async begin(state, payload) {
    if (payload.length !== AID_BYTES) throw new StatusError('LENGTH_ERROR');
    const aid = parseUintLE(payload);
    const index = state.memory.image.applications.findIndex((application) => application.aid === aid);
    if (aid !== CARD_LEVEL && index < 0) throw new StatusError('APPLICATION_NOT_FOUND');
    dropSession(state);
    state.selected = aid === CARD_LEVEL ? 'card' : index;
    return { status: STATUS.OPERATION_OK, data: new Uint8Array() };
  },
};

/** AID, KeySett1, KeySett2. */
const PLAIN_APPLICATION_BYTES = AID_BYTES + 2;
const ISO_ID_BYTES = 2;
const MAX_NAME_BYTES = 16;

export const createApplication: SecuredCommand = {
  instruction: 0xca,
  anywhere: true,
  headerBytes: 0,
  // With KeySett3, ISO identifier and DF name.
  dataBytes: [PLAIN_APPLICATION_BYTES, PLAIN_APPLICATION_BYTES + 1 + ISO_ID_BYTES + MAX_NAME_BYTES],
  messaging: () => MAC_BOTH_WAYS,
  async execute(state, { data }) {
    requireCardLevel(state);
    requireCreateDelete(state);
    const created = parseApplication(data);
    const { image } = state.memory;
    if (image.applications.some((other) => isSameApplication(other, created))) throw new StatusError('DUPLICATE_ERROR');
    if (applicationBytes(created) > freeBytes(image, state.profile)) throw new StatusError('OUT_OF_MEMORY');
    await state.memory.commit({ ...image, applications: [...image.applications, created] });
    return {};
  },
};

function isSameApplication(a: CardApplication, b: CardApplication): boolean {
  const isSameName = a.name !== undefined && b.name !== undefined && equalBytes(a.name, b.name);
  return a.aid === b.aid || isSameName || (a.isoId !== undefined && a.isoId === b.isoId);
}

/** KeySett2: bits 7..6 the type of all keys, bit 5 files have ISO identifiers, bit 4 KeySett3 follows, bits 3..0 how many keys. */
const KEY_TYPE_BITS = 0xc0;
export const AES_KEYS = 0x80;
export const ISO_FILE_IDS = 0x20;
const HAS_KEY_SETTINGS_3 = 0x10;
const KEY_COUNT_BITS = 0x0f;
const MAX_KEYS = 14;

function parseApplication(data: Bytes): CardApplication {
  const [settings1 = 0, settings2 = 0, settings3 = 0] = data.subarray(AID_BYTES);
  const hasSettings3 = (settings2 & HAS_KEY_SETTINGS_3) !== 0;
  const hasIsoFileIds = (settings2 & ISO_FILE_IDS) !== 0;
  const iso = data.subarray(PLAIN_APPLICATION_BYTES + (hasSettings3 ? 1 : 0));
  if (data.length < PLAIN_APPLICATION_BYTES + (hasSettings3 ? 1 : 0)) throw new StatusError('LENGTH_ERROR');
  const isIsoLength = hasIsoFileIds ? iso.length >= ISO_ID_BYTES && iso.length <= ISO_ID_BYTES + MAX_NAME_BYTES : iso.length === 0;
  if (!isIsoLength) throw new StatusError('LENGTH_ERROR');
  const aid = parseUintLE(data.subarray(0, AID_BYTES));
  const keyCount = settings2 & KEY_COUNT_BITS;
  // Not carried: DES applications, and what KeySett3 would add (key sets, virtual-card keys, delegated applications).
  const isCarried = (settings2 & KEY_TYPE_BITS) === AES_KEYS && (!hasSettings3 || settings3 === 0);
  if (!isCarried || aid === CARD_LEVEL || keyCount === 0 || keyCount > MAX_KEYS || !isChangeKeyKnown(settings1, keyCount)) throw new StatusError('PARAMETER_ERROR');
  const name = iso.slice(ISO_ID_BYTES);
  return {
    aid,
    isoId: hasIsoFileIds ? parseIsoId(iso) : undefined,
    name: name.length === 0 ? undefined : name,
    keySettings: settings1,
    hasIsoFileIds,
    keys: Array.from({ length: keyCount }, () => ({ value: ZERO_BLOCK, version: 0, failures: 0, failuresInARow: 0 })),
    files: [],
  };
}

/** KeySett1, bits 7..4: keys are changed with one key of the application, each with itself (E), or not at all (F). */
export function isChangeKeyKnown(settings1: number, keyCount: number): boolean {
  const changeKeyNo = settings1 >> 4;
  return changeKeyNo < keyCount || changeKeyNo >= 0xe;
}

/** ISO 7816-4, 5.3.1.1: these name no file of one's own. */
const RESERVED_ISO_IDS: readonly number[] = [0x0000, 0x3f00, 0x3fff, 0xffff];

/** The ISO identifier at the beginning of `data`; 9E if it is reserved. */
export function parseIsoId(data: Bytes): number {
  const id = parseUintLE(data.subarray(0, ISO_ID_BYTES));
  if (RESERVED_ISO_IDS.includes(id)) throw new StatusError('PARAMETER_ERROR');
  return id;
}

export const deleteApplication: SecuredCommand = {
  instruction: 0xda,
  anywhere: true,
  headerBytes: 0,
  dataBytes: [AID_BYTES, AID_BYTES],
  messaging: () => MAC_BOTH_WAYS,
  async execute(state, { data }) {
    const { image } = state.memory;
    const aid = parseUintLE(data);
    const deleted = image.applications.find((application) => application.aid === aid);
    requireMasterSession(state);
    // With its own master key an application may delete itself, if the card level lets go of its applications freely.
    const isOwn = state.selected !== 'card' && image.applications[state.selected] === deleted && (image.picc.keySettings & KEY_SETTING.FREE_CREATE_DELETE) !== 0;
    if (state.selected !== 'card' && !isOwn) throw new StatusError('PERMISSION_DENIED');
    if (deleted === undefined) throw new StatusError('APPLICATION_NOT_FOUND');
    const picc = { ...image.picc, lostBytes: image.picc.lostBytes + applicationBytes(deleted) };
    await state.memory.commit({ ...image, picc, applications: image.applications.filter((application) => application !== deleted) });
    if (!isOwn) return {};
    state.selected = 'card';
    return { endsSession: true };
  },
};

/** What one frame of a list carries. */
const AIDS_IN_A_FRAME = 19;

export const getApplicationIds: SecuredCommand = {
  instruction: 0x6a,
  anywhere: true,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute(state) {
    requireCardLevel(state);
    requireListing(state);
    const aids = state.memory.image.applications.map(encodeAid);
    const framesBeforeLast = Math.max(0, Math.ceil(aids.length / AIDS_IN_A_FRAME) - 1);
    return { data: concatBytes(...aids), frameBytes: Array.from({ length: framesBeforeLast }, () => AIDS_IN_A_FRAME * AID_BYTES) };
  },
};

/** One application a frame: AID, ISO identifier, DF name; only those that have an identifier. */
export const getDfNames: SecuredCommand = {
  instruction: 0x6d,
  anywhere: true,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute(state) {
    requireCardLevel(state);
    requireListing(state);
    const entries = state.memory.image.applications.flatMap((application) => {
      const { isoId, name = new Uint8Array() } = application;
      return isoId === undefined ? [] : [concatBytes(encodeAid(application), encodeUintLE(isoId, ISO_ID_BYTES), name)];
    });
    return { data: concatBytes(...entries), frameBytes: entries.slice(0, -1).map((entry) => entry.length) };
  },
};

function encodeAid({ aid }: CardApplication): Bytes {
  return encodeUintLE(aid ?? CARD_LEVEL, AID_BYTES);
}
