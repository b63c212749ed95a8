/** GetKeyVersion and ChangeKey. */
import { BLOCK_BYTES } from '../crypto.ts';
import { crc32 } from '../crc32.ts';
import { commitKey, findKey } from './level-keys.ts';
import { CARD_MASTER_KEY, dropSession, ENCIPHERED_REQUEST, MAC_BOTH_WAYS } from '../command.ts';
import { equalBytes } from '#protocol/bytes.ts';
import { KEY_SETTING } from '../card-image.ts';
import { keySettings } from './management.ts';
import { StatusError } from '../status.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardKey } from '../card-image.ts';
import type { CardState, SecuredCommand, SecureSession } from '../command.ts';

export const getKeyVersion: SecuredCommand = {
  instruction: 0x64,
  headerBytes: 1,
  messaging: () => MAC_BOTH_WAYS,
  execute: (state, { header }) => ({ data: new Uint8Array([requireKey(state, header[0]).version]) }),
};

/** New key and version; another key than the session's travels as the difference to the old one, with a checksum of the new. */
const OWN_KEY_BYTES = BLOCK_BYTES + 1;
const OTHER_KEY_BYTES = OWN_KEY_BYTES + 4;

export const changeKey: SecuredCommand = {
  instruction: 0xc4,
  headerBytes: 1,
  dataBytes: [OWN_KEY_BYTES, OTHER_KEY_BYTES],
  messaging: () => ENCIPHERED_REQUEST,
  async execute(state, { header, data }) {
    const { session } = state;
    if (session === undefined) throw new StatusError('AUTHENTICATION_ERROR');
    const keyNo = parseKeyNo(state, header);
    const old = requireKey(state, keyNo);
    requireRight(state, session, keyNo);
    const isOwn = keyNo === session.keyNo;
    if (data.length !== (isOwn ? OWN_KEY_BYTES : OTHER_KEY_BYTES)) throw new StatusError('LENGTH_ERROR');
    const sent = data.slice(0, BLOCK_BYTES);
    const value = isOwn ? sent : sent.map((byte, index) => byte ^ (old.value[index] ?? 0));
    if (!isOwn && !equalBytes(crc32(value), data.subarray(OWN_KEY_BYTES))) throw new StatusError('INTEGRITY_ERROR');
    const changed: CardKey = { value, version: data[BLOCK_BYTES] ?? 0, failures: 0, failuresInARow: 0 };
    await commitKey(state, keyNo, changed);
    // The session ends with the key that made it: the answer then has no MAC.
    if (isOwn) dropSession(state);
    return {};
  },
};

/** At card level the two high bits say what type the new key has. */
const KEY_TYPE_BITS = 0xc0;
const AES_KEY = 0x80;

function parseKeyNo(state: CardState, [keyNo = 0]: Bytes): number {
  if (state.selected !== 'card') return keyNo;
  // Not carried: a way back from AES to DES.
  if ((keyNo & KEY_TYPE_BITS) !== AES_KEY) throw new StatusError('PARAMETER_ERROR');
  return keyNo & ~KEY_TYPE_BITS;
}

/** Key settings, bits 7..4. */
const EACH_WITH_ITSELF = 0xe;
const NO_KEY_BUT_MASTER = 0xf;

function requireRight(state: CardState, session: SecureSession, keyNo: number): void {
  const settings = keySettings(state);
  const changeKeyNo = settings >> 4;
  const isMaster = keyNo === CARD_MASTER_KEY;
  const isFrozen = isMaster ? (settings & KEY_SETTING.MASTER_KEY_CHANGEABLE) === 0 : changeKeyNo === NO_KEY_BUT_MASTER;
  if (isFrozen) throw new StatusError('PERMISSION_DENIED');
  // The change key itself is changed with the master key.
  const byMaster = isMaster || keyNo === changeKeyNo;
  const needed = byMaster ? CARD_MASTER_KEY : changeKeyNo === EACH_WITH_ITSELF ? keyNo : changeKeyNo;
  if (session.keyNo !== needed) throw new StatusError('AUTHENTICATION_ERROR');
}

function requireKey(state: CardState, keyNo: number | undefined): CardKey {
  const key = keyNo === undefined ? undefined : findKey(state, keyNo);
  if (key === undefined) throw new StatusError('NO_SUCH_KEY');
  return key;
}
