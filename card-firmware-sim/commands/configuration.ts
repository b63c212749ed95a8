/** SetConfiguration: what the issuer settles about a card, some of it once in its life. */
import { commitApplication, ENCIPHERED_REQUEST, requireMasterSession, selectedApplication } from '../command.ts';
import { withApplication, withFile } from '../card-image.ts';
import { parseIsoId } from './applications.ts';
import { parseUintLE } from '#protocol/bytes.ts';
import { parseValueSettings, VALUE_SETTINGS_BYTES } from './value-settings.ts';
import { requireFileOfType } from './file-access.ts';
import { StatusError } from '../status.ts';
import { Transaction } from '../transaction.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardConfiguration } from '../card-image.ts';
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

/** Of the file number first, then what makes a value file. */
const VALUE_FILE_BYTES = 1 + VALUE_SETTINGS_BYTES;

async function configureValueFile(state: CardState, data: Bytes): Promise<void> {
  if (data.length !== VALUE_FILE_BYTES) throw new StatusError('LENGTH_ERROR');
  const file = requireFileOfType(state, data[0], 'value');
  if (file.configured) throw new StatusError('PERMISSION_DENIED');
  const configured = { ...file, ...parseValueSettings(data.subarray(1)) };
  await commitApplication(state, withFile(selectedApplication(state), configured));
  // A change of the old value that was still open has lost its ground.
  state.transaction = new Transaction();
}

const ENABLED = 0x01;

/** Option, limit, decrement; the last two count only where the option switches on (NT4H2421Gx, table 50). */
async function configureFailureCounter(state: CardState, data: Bytes): Promise<void> {
  if (data.length !== 5) throw new StatusError('LENGTH_ERROR');
  const [option = 0] = data;
  const isCounted = option === ENABLED;
  const [limit, decrement] = [parseUintLE(data.subarray(1, 3)), parseUintLE(data.subarray(3, 5))];
  if (option > ENABLED || (isCounted && limit === 0)) throw new StatusError('PARAMETER_ERROR');
  const before = state.memory.image.picc.configuration.failedAuthentications;
  await configureCard(state, { failedAuthentications: isCounted ? { isCounted, limit, decrement } : { ...before, isCounted } });
}

const RANDOM_UID = 0x02;

/** Bit 1 would give the card another UID at each activation, for ever. */
function configurePicc(_state: CardState, data: Bytes): void {
  if (data.length !== 1) throw new StatusError('LENGTH_ERROR');
  if (data[0] === RANDOM_UID) throw new StatusError('PERMISSION_DENIED');
  requireZeros(data);
}

/** Bits of the second byte would switch off chained writing, which no reader shows at this level. */
function configureMessaging(_state: CardState, data: Bytes): void {
  if (data.length !== 2) throw new StatusError('LENGTH_ERROR');
  requireZeros(data);
}

const LRP = 0x02;

/** PDcap2: four bytes, the one that would switch to LRP for ever, three bytes, and two that the card tells at each first authentication. */
async function configureCapabilities(state: CardState, data: Bytes): Promise<void> {
  if (data.length !== 10) throw new StatusError('LENGTH_ERROR');
  if (data[4] === LRP) throw new StatusError('PERMISSION_DENIED');
  requireZeros(data.subarray(0, 8));
  await configureCard(state, { capabilities: data.slice(8) });
}

const NAMED = 0x80;
const NAME_BYTES = 16;

/** Length of the name, the name filled up with zeros, ISO identifier. */
async function renameApplication(state: CardState, data: Bytes): Promise<void> {
  if (data.length !== 1 + NAME_BYTES + 2) throw new StatusError('LENGTH_ERROR');
  if (state.memory.image.picc.configuration.isRenamed) throw new StatusError('PERMISSION_DENIED');
  const nameBytes = (data[0] ?? 0) - NAMED;
  const isoId = parseIsoId(data.subarray(1 + NAME_BYTES));
  if (nameBytes < 1 || nameBytes > NAME_BYTES) throw new StatusError('PARAMETER_ERROR');
  if (state.selected === 'card') throw new StatusError('PERMISSION_DENIED');
  const { image } = state.memory;
  const renamed = withApplication(image, state.selected, { ...selectedApplication(state), name: data.slice(1, 1 + nameBytes), isoId });
  await state.memory.commit({ ...renamed, picc: { ...image.picc, configuration: { ...image.picc.configuration, isRenamed: true } } });
}

async function configureCard(state: CardState, changed: Partial<CardConfiguration>): Promise<void> {
  const { image } = state.memory;
  await state.memory.commit({ ...image, picc: { ...image.picc, configuration: { ...image.picc.configuration, ...changed } } });
}

function requireZeros(data: Bytes): void {
  if (data.some((byte) => byte !== 0)) throw new StatusError('PARAMETER_ERROR');
}

type Configure = (state: CardState, data: Bytes) => Promise<void> | void;

/** By option byte. ATS, SAK, file renaming and hardware (02, 03, 08, 0B) are not offered. */
const CONFIGURATIONS: ReadonlyMap<number, Configure> = new Map<number, Configure>([
  [0x00, configurePicc],
  [0x04, configureMessaging],
  [0x05, configureCapabilities],
  [0x06, renameApplication],
  [0x09, configureValueFile],
  [0x0a, configureFailureCounter],
]);
