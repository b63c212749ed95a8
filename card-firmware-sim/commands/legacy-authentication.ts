/** AuthenticateISO (1A) with the card's master key as long as that is the triple-DES key of the factory: two passes in one chain of CBC, and an EV1 session. */
import { concatBytes, equalBytes } from '#protocol/bytes.ts';
import { CARD_MASTER_KEY, dropSession } from '../command.ts';
import { DES_BLOCK_BYTES, TripleDes, ZERO_DES_BLOCK } from '../triple-des.ts';
import { LegacySession } from '../legacy-session.ts';
import { rotateLeft } from './authenticate.ts';
import { STATUS, StatusError } from '../status.ts';
import type { Answer, HandshakeCommand } from '../command.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** How much of a nonce goes into a session key at a time. */
const PART_BYTES = 4;

export const authenticateIso: HandshakeCommand = {
  instruction: 0x1a,
  async begin(state, payload) {
    if (payload.length !== 1) throw new StatusError('LENGTH_ERROR');
    const key = state.selected === 'card' ? state.memory.image.picc.masterKey : undefined;
    // All keys of applications are AES keys here.
    if (key?.type !== '2k3des') throw new StatusError('AUTHENTICATION_ERROR');
    if (payload[0] !== CARD_MASTER_KEY) throw new StatusError('NO_SUCH_KEY');
    dropSession(state);
    const cipher = new TripleDes(key.value);
    const rndB = state.random(DES_BLOCK_BYTES);
    const challenge = await cipher.encryptCbc(ZERO_DES_BLOCK, rndB);
    const next = async (proof: Bytes): Promise<Answer> => {
      if (proof.length !== 2 * DES_BLOCK_BYTES) throw new StatusError('LENGTH_ERROR');
      const nonces = await cipher.decryptCbc(challenge, proof);
      if (!equalBytes(nonces.subarray(DES_BLOCK_BYTES), rotateLeft(rndB))) throw new StatusError('AUTHENTICATION_ERROR');
      const rndA = nonces.slice(0, DES_BLOCK_BYTES);
      state.session = new LegacySession(CARD_MASTER_KEY, sessionKey(key.value, rndA, rndB));
      return { status: STATUS.OPERATION_OK, data: await cipher.encryptCbc(proof.subarray(DES_BLOCK_BYTES), rotateLeft(rndA)) };
    };
    return { status: STATUS.ADDITIONAL_FRAME, data: challenge, next };
  },
};

/** A key of two equal halves, which is a DES key, makes a DES session. */
function sessionKey(key: Bytes, rndA: Bytes, rndB: Bytes): Bytes {
  const first = concatBytes(rndA.subarray(0, PART_BYTES), rndB.subarray(0, PART_BYTES));
  if (equalBytes(key.subarray(0, DES_BLOCK_BYTES), key.subarray(DES_BLOCK_BYTES))) return first;
  return concatBytes(first, rndA.subarray(PART_BYTES), rndB.subarray(PART_BYTES));
}
