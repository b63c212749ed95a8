/** GetKeyVersion and ChangeKey. */
import { BLOCK_BYTES } from '../crypto.ts';
import { crc32 } from '../crc32.ts';
import { commitApplication, dropSession, ENCIPHERED_REQUEST, MAC_BOTH_WAYS, requireMasterSession, selectedApplication } from '../command.ts';
import { equalBytes } from '#protocol/bytes.ts';
import { StatusError } from '../status.ts';
import { withKey } from '../card-image.ts';
import type { CardKey } from '../card-image.ts';
import type { CardState, SecuredCommand } from '../command.ts';

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
    const session = requireMasterSession(state);
    const [keyNo = 0] = header;
    const old = requireKey(state, keyNo);
    const isOwn = keyNo === session.keyNo;
    if (data.length !== (isOwn ? OWN_KEY_BYTES : OTHER_KEY_BYTES)) throw new StatusError('LENGTH_ERROR');
    const sent = data.slice(0, BLOCK_BYTES);
    const value = isOwn ? sent : sent.map((byte, index) => byte ^ (old.value[index] ?? 0));
    if (!isOwn && !equalBytes(crc32(value), data.subarray(OWN_KEY_BYTES))) throw new StatusError('INTEGRITY_ERROR');
    const changed: CardKey = { value, version: data[BLOCK_BYTES] ?? 0, failures: 0, failuresInARow: 0 };
    await commitApplication(state, withKey(selectedApplication(state), keyNo, changed));
    // The session ends with the key that made it: the answer then has no MAC.
    if (isOwn) dropSession(state);
    return {};
  },
};

function requireKey(state: CardState, keyNo: number | undefined): CardKey {
  const key = keyNo === undefined ? undefined : selectedApplication(state).keys[keyNo];
  if (key === undefined) throw new StatusError('NO_SUCH_KEY');
  return key;
}
