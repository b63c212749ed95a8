/** Which commands a card model takes, by instruction byte; the models with free applications get their own table. */
import { abortTransaction, commitReaderId, commitTransaction } from './transaction.ts';
import { authenticateEv2First, authenticateEv2NonFirst } from './authenticate.ts';
import { changeFileSettings, getFileIds, getFileSettings, getIsoFileIds } from './file-settings.ts';
import { changeKey, getKeyVersion } from './keys.ts';
import { createTransactionMacFile, deleteFile } from './transaction-mac-file.ts';
import { credit, debit, getValue, limitedCredit } from './value.ts';
import { getCardUid, getVersion } from './identity.ts';
import { readData, writeData } from './data.ts';
import { clearRecordFile, readRecords, updateRecord, writeRecord } from './records.ts';
import { setConfiguration } from './configuration.ts';
import type { Command } from '../command.ts';
import type { ProfileName } from '../profile.ts';

const LIGHT: readonly Command[] = [
  authenticateEv2First,
  authenticateEv2NonFirst,
  getVersion,
  getCardUid,
  getKeyVersion,
  changeKey,
  setConfiguration,
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

export const COMMANDS: Readonly<Record<ProfileName, ReadonlyMap<number, Command>>> = {
  light: byInstruction(LIGHT),
  ev2: byInstruction(LIGHT),
  ev3: byInstruction(LIGHT),
};

function byInstruction(commands: readonly Command[]): ReadonlyMap<number, Command> {
  return new Map(commands.map((command) => [command.instruction, command]));
}
