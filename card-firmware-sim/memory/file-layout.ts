/** How one file lies in a card's memory: its settings, what a transaction changes of it, and its content. */
import { areKnownKeys, NEVER } from '../access-rights.ts';
import { BLOCK_BYTES } from '../crypto.ts';
import { CardImageError } from './card-image-error.ts';
import { COMM_MODE } from '../secure-messaging.ts';
import { PAGE_BYTES } from './eeprom.ts';
import { ringName, slotOf, slotsOf } from './record-rings.ts';
import { usableRecords } from '../card-image.ts';
import type { AccessRights, CardFile, RecordFile, TransactionMacFile, ValueFile } from '../card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from '../secure-messaging.ts';
import type { FieldStream } from './field-stream.ts';

/** The three parts of the memory, each a run of fields of its own, and where in it the records lie. */
export interface Sections {
  /** What payments change. */
  readonly state: FieldStream;
  readonly settings: FieldStream;
  /** Data and records. */
  readonly content: FieldStream;
  /** Given when writing, filled when reading. */
  readonly rings: Map<string, number>;
}

interface FilePlace extends Sections {
  /** What errors call the file. */
  readonly path: string;
  /** Greatest number of bytes that a content can have. */
  readonly maxContentBytes: number;
  readonly applicationIndex: number;
}

type FileOf<T extends CardFile['type']> = Extract<CardFile, { type: T }>;
type Common = Pick<CardFile, 'number' | 'mode' | 'rights'>;

/** The place of each type is its number on the wire. */
const TYPES = ['standard', 'backup', 'value', 'linear', 'cyclic', 'transaction-mac'] as const satisfies readonly CardFile['type'][];
const MAX_FILE_NUMBER = 0x1f;
const CONDITION = { max: NEVER };
const MODES: readonly number[] = Object.values(COMM_MODE);

/** `file` is what to write, undefined when reading; either way the file comes back. */
export function layOutFile(place: FilePlace, keyCount: number, file: CardFile | undefined): CardFile {
  const { settings, path } = place;
  const type = TYPES[settings.uint(`${path}.type`, file && TYPES.indexOf(file.type), 1, { max: TYPES.length - 1 })] ?? 'standard';
  const common = {
    number: settings.uint(`${path}.number`, file?.number, 1, { max: MAX_FILE_NUMBER }),
    mode: layOutMode(place, file?.mode),
    rights: layOutRights(place, keyCount, file?.rights),
  };
  const layOut = LAYOUTS[type] as (place: FilePlace, common: Common, file: CardFile | undefined) => CardFile;
  return layOut(place, common, file);
}

const LAYOUTS: { readonly [T in CardFile['type']]: (place: FilePlace, common: Common, file: FileOf<T> | undefined) => FileOf<T> } = {
  standard: (place, common, file) => ({ ...common, type: 'standard', ...layOutContent(place, file) }),
  backup: (place, common, file) => ({ ...common, type: 'backup', ...layOutContent(place, file) }),
  value: layOutValue,
  linear: (place, common, file) => ({ ...layOutRecords(place, common, 'linear', file), type: 'linear' }),
  cyclic: (place, common, file) => ({ ...layOutRecords(place, common, 'cyclic', file), type: 'cyclic' }),
  'transaction-mac': layOutTransactionMac,
};

function layOutMode({ settings, path }: FilePlace, mode: CommMode | undefined): CommMode {
  const read = settings.uint(`${path}.mode`, mode, 1, { max: 3 });
  if (!MODES.includes(read)) throw new CardImageError(`${path}.mode: no communication mode`);
  return read as CommMode;
}

function layOutRights({ settings, path }: FilePlace, keyCount: number, rights: AccessRights | undefined): AccessRights {
  const read = {
    read: settings.uint(`${path}.rights.read`, rights?.read, 1, CONDITION),
    write: settings.uint(`${path}.rights.write`, rights?.write, 1, CONDITION),
    readWrite: settings.uint(`${path}.rights.readWrite`, rights?.readWrite, 1, CONDITION),
    change: settings.uint(`${path}.rights.change`, rights?.change, 1, CONDITION),
  };
  if (!areKnownKeys(read, keyCount)) throw new CardImageError(`${path}.rights: a key that this application does not have`);
  return read;
}

function layOutContent({ settings, content, path, maxContentBytes }: FilePlace, file: FileOf<'standard' | 'backup'> | undefined): Pick<FileOf<'standard'>, 'isoId' | 'content'> {
  const isoId = settings.optionalUint(`${path}.isoId`, file?.isoId, 2);
  const length = settings.uint(`${path}.size`, file?.content.length, 3, { min: 1, max: maxContentBytes });
  return { isoId, content: layOutPages(content, `${path}.content`, file?.content, length) };
}

function layOutValue({ settings, state, path }: FilePlace, common: Common, file: ValueFile | undefined): ValueFile {
  const lower = settings.int32(`${path}.lower`, file?.lower);
  const upper = settings.int32(`${path}.upper`, file?.upper, { min: lower });
  return {
    ...common,
    type: 'value',
    lower,
    upper,
    limitedCreditEnabled: settings.boolean(`${path}.limitedCreditEnabled`, file?.limitedCreditEnabled),
    freeGetValue: settings.boolean(`${path}.freeGetValue`, file?.freeGetValue),
    configured: settings.boolean(`${path}.configured`, file?.configured),
    value: state.int32(`${path}.value`, file?.value, { min: lower, max: upper }),
    limitedCredit: state.uint(`${path}.limitedCredit`, file?.limitedCredit, 4),
  };
}

function layOutRecords(place: FilePlace, common: Common, type: RecordFile['type'], file: RecordFile | undefined): Omit<RecordFile, 'type'> {
  const { settings, state, content, path, maxContentBytes } = place;
  const isCyclic = type === 'cyclic';
  const isoId = settings.optionalUint(`${path}.isoId`, file?.isoId, 2);
  const recordBytes = settings.uint(`${path}.recordBytes`, file?.recordBytes, 3, { min: 1, max: maxContentBytes });
  const maxRecords = settings.uint(`${path}.maxRecords`, file?.maxRecords, 3, { min: isCyclic ? 2 : 1, max: Math.floor(maxContentBytes / recordBytes) });
  const count = state.uint(`${path}.records`, file?.records.length, 3, { max: usableRecords({ type, maxRecords }) });
  const oldest = isCyclic ? layOutRing(place, common.number, file, maxRecords) : 0;
  const slots = layOutPages(content, `${path}.records`, file && joinSlots(file, oldest, path), recordBytes * maxRecords);
  const records = Array.from({ length: count }, (_, index) => {
    const at = slotOf({ maxRecords }, oldest, count, index) * recordBytes;
    return slots.slice(at, at + recordBytes);
  });
  return { ...common, isoId, recordBytes, maxRecords, records };
}

function layOutRing({ state, path, rings, applicationIndex }: FilePlace, number: number, file: RecordFile | undefined, maxRecords: number): number {
  const name = ringName(applicationIndex, number);
  const oldest = state.uint(`${path}.oldest`, file && (rings.get(name) ?? 0), 3, { max: maxRecords - 1 });
  rings.set(name, oldest);
  return oldest;
}

function joinSlots(file: RecordFile, oldest: number, path: string): Bytes {
  const joined = new Uint8Array(file.recordBytes * file.maxRecords);
  slotsOf(file, oldest).forEach((record, slot) => {
    if (record !== undefined && record.length !== file.recordBytes) throw new CardImageError(`${path}.records: not ${file.recordBytes} bytes each`);
    if (record !== undefined) joined.set(record, slot * file.recordBytes);
  });
  return joined;
}

function layOutTransactionMac({ settings, state, path }: FilePlace, common: Common, file: TransactionMacFile | undefined): TransactionMacFile {
  if (common.rights.write !== NEVER) throw new CardImageError(`${path}.rights: a transaction-MAC file cannot be written`);
  return {
    ...common,
    type: 'transaction-mac',
    appTmKey: settings.bytes(`${path}.appTmKey`, file?.appTmKey, BLOCK_BYTES),
    keyVersion: settings.uint(`${path}.keyVersion`, file?.keyVersion, 1),
    counterLimit: settings.optionalUint(`${path}.counterLimit`, file?.counterLimit, 4),
    counter: state.uint(`${path}.counter`, file?.counter, 4),
    tmv: state.bytes(`${path}.tmv`, file?.tmv, 8),
    readerId: state.bytes(`${path}.readerId`, file?.readerId, BLOCK_BYTES),
  };
}

/** From a page of its own, so that a write of a page's length touches no neighbour. */
function layOutPages(content: FieldStream, name: string, bytes: Bytes | undefined, length: number): Bytes {
  content.align(name, PAGE_BYTES);
  return content.bytes(name, bytes, length);
}
