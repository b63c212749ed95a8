/** The commands that create files in an application of an EV2 or EV3; the transaction-MAC file has its own. */
import { areKnownKeys, parseAccessRights } from '../access-rights.ts';
import { commitApplication, MAC_BOTH_WAYS, selectedApplication } from '../command.ts';
import { fileBytes, freeBytes } from '../memory-use.ts';
import { findFile } from '../card-image.ts';
import { MAX_FILE_NUMBER, MODE_BITS, parseCommMode } from './file-settings.ts';
import { parseIsoId } from './applications.ts';
import { parseUintLE } from '#protocol/bytes.ts';
import { parseValueSettings, VALUE_SETTINGS_BYTES } from './value-settings.ts';
import { requireCreateDelete } from './management.ts';
import { StatusError } from '../status.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication, CardFile, LinearFile } from '../card-image.ts';
import type { CardState, SecuredCommand } from '../command.ts';

type Common = Pick<CardFile, 'number' | 'mode' | 'rights'>;

/** One file type: what follows file number, ISO identifier, option and rights. */
interface Creation {
  readonly instruction: number;
  /** Whether such files have an ISO identifier, where the application has them. */
  readonly hasIsoId: boolean;
  readonly detailBytes: number;
  readonly make: (common: Common, isoId: number | undefined, details: Bytes, state: CardState) => CardFile;
}

/** File number, option, rights. */
const COMMON_BYTES = 4;
const ISO_ID_BYTES = 2;

function creation({ instruction, hasIsoId, detailBytes, make }: Creation): SecuredCommand {
  const bytes = COMMON_BYTES + detailBytes;
  return {
    instruction,
    headerBytes: 0,
    dataBytes: [bytes, bytes + (hasIsoId ? ISO_ID_BYTES : 0)],
    messaging: () => MAC_BOTH_WAYS,
    async execute(state, { data }) {
      requireCreateDelete(state);
      const application = selectedApplication(state);
      const isoBytes = hasIsoId && application.hasIsoFileIds ? ISO_ID_BYTES : 0;
      if (data.length !== bytes + isoBytes) throw new StatusError('LENGTH_ERROR');
      const isoId = isoBytes === 0 ? undefined : parseIsoId(data.subarray(1));
      const details = data.slice(COMMON_BYTES + isoBytes);
      const file = make(parseCommon(application, data[0] ?? 0, data.subarray(1 + isoBytes)), isoId, details, state);
      await addFile(state, application, file);
      return {};
    },
  };
}

function parseCommon({ keys }: CardApplication, number: number, described: Bytes): Common {
  const [option = 0] = described;
  const rights = parseAccessRights(described.subarray(1));
  // Not carried: secure dynamic messaging and additional access rights.
  if (number > MAX_FILE_NUMBER || (option & ~MODE_BITS) !== 0 || !areKnownKeys(rights, keys.length)) throw new StatusError('PARAMETER_ERROR');
  return { number, mode: parseCommMode(option), rights };
}

async function addFile(state: CardState, application: CardApplication, file: CardFile): Promise<void> {
  const isoId = 'isoId' in file ? file.isoId : undefined;
  const hasSameIsoId = isoId !== undefined && application.files.some((other) => 'isoId' in other && other.isoId === isoId);
  if (findFile(application, file.number) !== undefined || hasSameIsoId) throw new StatusError('DUPLICATE_ERROR');
  if (fileBytes(file) > freeBytes(state.memory.image, state.profile)) throw new StatusError('OUT_OF_MEMORY');
  await commitApplication(state, { ...application, files: [...application.files, file] });
}

const SIZE_BYTES = 3;

function makeContent(details: Bytes, { profile }: CardState): Bytes {
  const size = parseUintLE(details);
  if (size === 0) throw new StatusError('PARAMETER_ERROR');
  // The size is the reader's word: bound it before allocating.
  if (size > profile.memoryBytes) throw new StatusError('OUT_OF_MEMORY');
  return new Uint8Array(size);
}

export const createStandardDataFile = creation({
  instruction: 0xcd,
  hasIsoId: true,
  detailBytes: SIZE_BYTES,
  make: (common, isoId, details, state) => ({ type: 'standard', ...common, isoId, content: makeContent(details, state) }),
});

export const createBackupDataFile = creation({
  instruction: 0xcb,
  hasIsoId: true,
  detailBytes: SIZE_BYTES,
  make: (common, isoId, details, state) => ({ type: 'backup', ...common, isoId, content: makeContent(details, state) }),
});

/** Record size and greatest number of records. */
const RECORDS_BYTES = 6;

function makeRecords(details: Bytes, leastRecords: number): Pick<LinearFile, 'recordBytes' | 'maxRecords' | 'records'> {
  const [recordBytes, maxRecords] = [parseUintLE(details.subarray(0, 3)), parseUintLE(details.subarray(3))];
  if (recordBytes === 0 || maxRecords < leastRecords) throw new StatusError('PARAMETER_ERROR');
  return { recordBytes, maxRecords, records: [] };
}

export const createLinearRecordFile = creation({
  instruction: 0xc1,
  hasIsoId: true,
  detailBytes: RECORDS_BYTES,
  make: (common, isoId, details) => ({ type: 'linear', ...common, isoId, ...makeRecords(details, 1) }),
});

export const createCyclicRecordFile = creation({
  instruction: 0xc0,
  hasIsoId: true,
  detailBytes: RECORDS_BYTES,
  // One of its records is the shadow of the next.
  make: (common, isoId, details) => ({ type: 'cyclic', ...common, isoId, ...makeRecords(details, 2) }),
});

export const createValueFile = creation({
  instruction: 0xcc,
  hasIsoId: false,
  detailBytes: VALUE_SETTINGS_BYTES,
  // Limits and value are given with the file.
  make: (common, _, details) => ({ type: 'value', ...common, ...parseValueSettings(details) }),
});
