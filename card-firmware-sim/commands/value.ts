/** GetValue, Credit, Debit and LimitedCredit: changes gather in the open transaction and count from the commit on. */
import { concatBytes } from '#protocol/bytes.ts';
import { encodeInt32LE, parseInt32LE } from '../card-image.ts';
import { fileAccess, fileMessaging, requireDataAccess, requireFile, requireFileOfType } from './file-access.ts';
import { GRANTS } from '../access-rights.ts';
import { selectedApplication } from '../command.ts';
import { StatusError } from '../status.ts';
import type { Access, Right } from '../access-rights.ts';
import type { CardFile, ValueFile } from '../card-image.ts';
import type { CardState, SecuredCommand } from '../command.ts';
import type { Profile } from '../profile.ts';
import type { ValueChange } from '../transaction.ts';

const VALUE_BYTES = 4;

export const getValue: SecuredCommand = {
  instruction: 0x6c,
  headerBytes: 1,
  messaging(state, header) {
    const file = requireFile(state, header[0]);
    return fileMessaging(file, accessToValue(state, file), 'read');
  },
  execute(state, { instruction, header }) {
    const file = requireFileOfType(state, header[0], 'value');
    requireDataAccess(state, file, accessToValue(state, file));
    const shown = state.profile.openValue === 'shadow' ? openChange(state, file).value : file.value;
    const data = encodeInt32LE(shown);
    state.transaction.appendToTmi(selectedApplication(state), concatBytes(new Uint8Array([instruction]), header, data));
    return { data };
  },
};

/** The value option "free GetValue" opens reading to everybody, in plain. */
function accessToValue(state: CardState, file: CardFile): Access {
  const access = fileAccess(state, file, GRANTS.getValue);
  return access !== 'key' && file.type === 'value' && file.freeGetValue ? 'free' : access;
}

export const credit = valueChange(0x0c, GRANTS.credit, (change, amount, file) => {
  if (change.value + amount > file.upper) throw new StatusError('BOUNDARY_ERROR');
  return { ...change, value: change.value + amount, credited: true };
});

export const debit = valueChange(0xdc, GRANTS.debit, (change, amount, file) => {
  if (change.value - amount < file.lower) throw new StatusError('BOUNDARY_ERROR');
  return { ...change, value: change.value - amount, debited: (change.debited ?? 0) + amount };
});

/** Gives back at most what the last debiting transaction took, once. */
export const limitedCredit = valueChange(0x1c, GRANTS.limitedCredit, (change, amount, file, profile) => {
  if (!file.limitedCreditEnabled) throw new StatusError('PERMISSION_DENIED');
  const limitedCredited = change.limitedCredited + amount;
  if (limitedCredited > file.limitedCredit || change.value + amount > file.upper) throw new StatusError('BOUNDARY_ERROR');
  const rest = profile.limitedCreditLeft === 'the-rest' ? file.limitedCredit - limitedCredited : 0;
  return { ...change, value: change.value + amount, limitedCredited, limitedCreditLeft: rest };
});

function valueChange(instruction: number, grants: readonly Right[], apply: (change: ValueChange, amount: number, file: ValueFile, profile: Profile) => ValueChange): SecuredCommand {
  return {
    instruction,
    headerBytes: 1,
    dataBytes: [VALUE_BYTES, VALUE_BYTES],
    messaging(state, header) {
      const file = requireFile(state, header[0]);
      return fileMessaging(file, fileAccess(state, file, grants), 'write');
    },
    execute(state, { header, data }) {
      const file = requireFileOfType(state, header[0], 'value');
      requireDataAccess(state, file, fileAccess(state, file, grants));
      const amount = parseInt32LE(data);
      if (amount < 0) throw new StatusError('PARAMETER_ERROR');
      state.transaction.values.set(file.number, apply(openChange(state, file), amount, file, state.profile));
      state.transaction.appendToTmi(selectedApplication(state), concatBytes(new Uint8Array([instruction]), header, data));
      return {};
    },
  };
}

function openChange(state: CardState, file: ValueFile): ValueChange {
  return state.transaction.values.get(file.number) ?? { value: file.value, debited: undefined, credited: false, limitedCredited: 0, limitedCreditLeft: file.limitedCredit };
}
