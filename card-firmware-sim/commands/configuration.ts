/** SetConfiguration: what is settled once in the life of a card. */
import { commitApplication, ENCIPHERED_REQUEST, requireMasterSession, selectedApplication } from '../command.ts';
import { parseInt32LE, withFile } from '../card-image.ts';
import { requireFileOfType } from './file-access.ts';
import { StatusError } from '../status.ts';
import { Transaction } from '../transaction.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardState, SecuredCommand } from '../command.ts';

const MAX_OPTION_BYTES = 32;

export const setConfiguration: SecuredCommand = {
  instruction: 0x5c,
  headerBytes: 1,
  dataBytes: [1, MAX_OPTION_BYTES],
  messaging: () => ENCIPHERED_REQUEST,
  async execute(state, { header, data }) {
    requireMasterSession(state);
    const configure = CONFIGURATIONS.get(header[0] ?? 0);
    if (configure === undefined) throw new StatusError('PARAMETER_ERROR');
    await configure(state, data);
    return {};
  },
};

/** FileNo, lower, upper, value, value option. */
const VALUE_FILE_BYTES = 14;
const LIMITED_CREDIT_ENABLED = 0x01;
const FREE_GET_VALUE = 0x02;

async function configureValueFile(state: CardState, data: Bytes): Promise<void> {
  if (data.length !== VALUE_FILE_BYTES) throw new StatusError('LENGTH_ERROR');
  const file = requireFileOfType(state, data[0], 'value');
  if (file.configured) throw new StatusError('PERMISSION_DENIED');
  const [lower, upper, value] = [1, 5, 9].map((offset) => parseInt32LE(data.subarray(offset, offset + 4))) as [number, number, number];
  const option = data[13] ?? 0;
  const isKnownOption = (option & ~(LIMITED_CREDIT_ENABLED | FREE_GET_VALUE)) === 0;
  if (!isKnownOption || lower > value || value > upper) throw new StatusError('PARAMETER_ERROR');
  const limitedCreditEnabled = (option & LIMITED_CREDIT_ENABLED) !== 0;
  const freeGetValue = (option & FREE_GET_VALUE) !== 0;
  const configured = { ...file, lower, upper, value, limitedCreditEnabled, freeGetValue, limitedCredit: 0, configured: true };
  await commitApplication(state, withFile(selectedApplication(state), configured));
  // A change of the old value that was still open has lost its ground.
  state.transaction = new Transaction();
}

/** By option byte. The options for ATS, SAK, names, random UID and failure counter have their place here. */
const CONFIGURATIONS: ReadonlyMap<number, (state: CardState, data: Bytes) => Promise<void>> = new Map([[0x09, configureValueFile]]);
