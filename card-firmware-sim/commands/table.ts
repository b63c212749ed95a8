/** Which commands a card model takes, by instruction byte. */
import { abortTransaction, commitReaderId, commitTransaction } from './transaction.ts';
import { authenticateEv2First, authenticateEv2NonFirst } from './authenticate.ts';
import { authenticateIso } from './legacy-authentication.ts';
import { changeFileSettings, getFileIds, getFileSettings, getIsoFileIds } from './file-settings.ts';
import { changeKey, getKeyVersion } from './keys.ts';
import { changeKeySettings, getKeySettings } from './key-settings.ts';
import { createApplication, deleteApplication, getApplicationIds, getDfNames, selectApplication } from './applications.ts';
import { createBackupDataFile, createCyclicRecordFile, createLinearRecordFile, createStandardDataFile, createValueFile } from './create-files.ts';
import { createTransactionMacFile, deleteFile } from './transaction-mac-file.ts';
import { credit, debit, getValue, limitedCredit } from './value.ts';
import { formatPicc, getFreeMemory } from './card-level.ts';
import { getCardUid, getVersion } from './identity.ts';
import { readData, writeData } from './data.ts';
import { clearRecordFile, readRecords, updateRecord, writeRecord } from './records.ts';
import { setConfiguration } from './configuration.ts';
import type { Command } from '../command.ts';
import type { ProfileName } from '../profile.ts';

/** What all models take. */
const COMMON: readonly Command[] = [
  authenticateEv2First,
  authenticateEv2NonFirst,
  getVersion,
  getCardUid,
  getFileIds,
  getIsoFileIds,
  getFileSettings,
  changeFileSettings,
  createTransactionMacFile,
  deleteFile,
  readData,
  writeData,
  readRecords,
  writeRecord,
  updateRecord,
  clearRecordFile,
  getValue,
  credit,
  debit,
  limitedCredit,
  commitReaderId,
  commitTransaction,
  abortTransaction,
];

const LIGHT: readonly Command[] = [...COMMON, getKeyVersion, changeKey, setConfiguration];

const WITH_APPLICATIONS: readonly Command[] = [
  ...COMMON,
  authenticateIso,
  // The card level has a key of its own.
  { ...getKeyVersion, anywhere: true },
  { ...changeKey, anywhere: true },
  getKeySettings,
  changeKeySettings,
  selectApplication,
  createApplication,
  deleteApplication,
  getApplicationIds,
  getDfNames,
  formatPicc,
  getFreeMemory,
  createStandardDataFile,
  createBackupDataFile,
  createValueFile,
  createLinearRecordFile,
  createCyclicRecordFile,
  // The opcodes from before EV2: the same commands, in as many frames as they need.
  { ...readData, instruction: 0xbd, inFrames: true },
  { ...writeData, instruction: 0x3d, inFrames: true },
  { ...readRecords, instruction: 0xbb, inFrames: true },
  { ...writeRecord, instruction: 0x3b, inFrames: true },
  { ...updateRecord, instruction: 0xdb, inFrames: true },
];

export const COMMANDS: Readonly<Record<ProfileName, ReadonlyMap<number, Command>>> = {
  light: byInstruction(LIGHT),
  ev2: byInstruction(WITH_APPLICATIONS),
  ev3: byInstruction(WITH_APPLICATIONS),
};

function byInstruction(commands: readonly Command[]): ReadonlyMap<number, Command> {
  return new Map(commands.map((command) => [command.instruction, command]));
}
