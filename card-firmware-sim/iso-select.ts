/** ISO SELECT: the one command of the chip that is not native; it chooses card or application and ends what was open. */
import { MAX_ANSWER_DATA_BYTES } from './apdu.ts';
import { concatBytes, equalBytes, parseUintLE } from '#protocol/bytes.ts';
import { dropSession, selectedApplication } from './command.ts';
import { findFile } from './card-image.ts';
import { isCounterUsedUp } from './commands/file-access.ts';
import { MASTER_FILE_ID, MASTER_FILE_NAME } from './profile.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication } from './card-image.ts';
import type { CardState } from './command.ts';
import type { CommandApdu } from './apdu.ts';

/** Status words of ISO 7816-4, 5.6. */
export const SW = {
  OK: 0x9000,
  LIMITED: 0x6283,
  MEMORY_FAILURE: 0x6581,
  WRONG_LENGTH: 0x6700,
  CONDITIONS: 0x6985,
  FILE_NOT_FOUND: 0x6a82,
  WRONG_P1_P2: 0x6a86,
  WRONG_LC: 0x6a87,
  WRONG_INSTRUCTION: 0x6d00,
  WRONG_CLASS: 0x6e00,
} as const;

export interface IsoAnswer {
  readonly sw: (typeof SW)[keyof typeof SW];
  readonly data: Bytes;
}

export const ISO_SELECT = 0xa4;
/** P1: what the data name. */
const BY_FILE_ID = 0x00;
const FILE_OF_APPLICATION = 0x02;
const BY_NAME = 0x04;
/** P2: with or without file control information. */
const WITH_FCI = 0x00;
const WITHOUT_FCI = 0x0c;

export function selectFile(state: CardState, { p1, p2, data }: CommandApdu): IsoAnswer {
  if (p2 !== WITH_FCI && p2 !== WITHOUT_FCI) return refusal(SW.WRONG_P1_P2);
  switch (p1) {
    case BY_NAME:
      return selectByName(state, data, p2 === WITH_FCI);
    case BY_FILE_ID:
      // ISO 7816-4, 7.1.1: no identifier at all means the master file.
      return data.length === 0 ? selectCard(state) : selectById(state, data);
    case FILE_OF_APPLICATION:
      return data.length === 2 ? selectElementaryFile(state, readFileId(data)) : refusal(SW.WRONG_LC);
    default:
      return refusal(SW.WRONG_P1_P2);
  }
}

function selectByName(state: CardState, name: Bytes, withFci: boolean): IsoAnswer {
  if (name.length === 0 || name.length > 16) return refusal(SW.WRONG_LC);
  if (equalBytes(name, MASTER_FILE_NAME)) return selectCard(state);
  return selectApplication(state, withFci, (application) => application.name !== undefined && equalBytes(name, application.name)) ?? refusal(SW.FILE_NOT_FOUND);
}

function selectById(state: CardState, data: Bytes): IsoAnswer {
  if (data.length !== 2) return refusal(SW.WRONG_LC);
  const id = readFileId(data);
  if (id === MASTER_FILE_ID) return selectCard(state);
  // AN12343 table 9: by identifier the application answers without its file control information.
  return selectApplication(state, false, ({ isoId }) => isoId === id) ?? selectElementaryFile(state, id);
}

function selectCard(state: CardState): IsoAnswer {
  dropSession(state);
  state.selected = 'card';
  return { sw: SW.OK, data: new Uint8Array() };
}

/** Undefined if no application is the wanted one. */
function selectApplication(state: CardState, withFci: boolean, isWanted: (application: CardApplication) => boolean): IsoAnswer | undefined {
  const index = state.memory.image.applications.findIndex(isWanted);
  const application = state.memory.image.applications[index];
  if (application === undefined) return undefined;
  dropSession(state);
  state.selected = index;
  const fci = findFile(application, state.profile.fciFileNumber);
  // One answer is all there is: no command asks for the rest.
  const data = withFci && fci?.type === 'standard' ? fci.content.slice(0, MAX_ANSWER_DATA_BYTES) : new Uint8Array();
  return { sw: isCounterUsedUp(application) ? SW.LIMITED : SW.OK, data };
}

/** A file below the application: the session stays. */
function selectElementaryFile(state: CardState, id: number): IsoAnswer {
  const exists = state.selected !== 'card' && selectedApplication(state).files.some((file) => 'isoId' in file && file.isoId === id);
  return exists ? { sw: SW.OK, data: new Uint8Array() } : refusal(SW.FILE_NOT_FOUND);
}

function refusal(sw: IsoAnswer['sw']): IsoAnswer {
  return { sw, data: new Uint8Array() };
}

/** ISO file identifiers travel with their high byte first. */
function readFileId(data: Bytes): number {
  return parseUintLE(data.slice().reverse());
}

export function encodeIsoAnswer({ sw, data }: IsoAnswer): Bytes {
  return concatBytes(data, new Uint8Array([sw >> 8, sw & 0xff]));
}
