/** AuthenticateEV2First and AuthenticateEV2NonFirst: mutual proof of one key in two passes, and the session that comes of it. */
import { Aes128, BLOCK_BYTES, ZERO_BLOCK } from '../crypto.ts';
import { concatBytes, equalBytes } from '#protocol/bytes.ts';
import { deriveSessionKeys, Session } from '../secure-messaging.ts';
import { commitApplication, dropSession, selectedApplication } from '../command.ts';
import { STATUS, StatusError } from '../status.ts';
import { withKey } from '../card-image.ts';
import type { Answer, CardState, HandshakeCommand } from '../command.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardKey } from '../card-image.ts';

const MAX_CAPABILITY_BYTES = 6;
/** PCDcap2 byte 1: the reader asks for LRP, which is not switched on here. */
const ASKS_FOR_LRP = 0x02;
const TRANSACTION_IDENTIFIER_BYTES = 4;

export const authenticateEv2First: HandshakeCommand = {
  instruction: 0x71,
  async begin(state, payload) {
    const [keyNo = 0, capabilityBytes = 0] = payload;
    if (payload.length < 2 || capabilityBytes > MAX_CAPABILITY_BYTES || payload.length !== 2 + capabilityBytes) throw new StatusError('LENGTH_ERROR');
    const readerCapabilities = new Uint8Array(MAX_CAPABILITY_BYTES);
    readerCapabilities.set(payload.subarray(2));
    if (((readerCapabilities[0] ?? 0) & ASKS_FOR_LRP) !== 0) throw new StatusError('PERMISSION_DENIED');
    const key = requireUsableKey(state, keyNo);
    // It starts a new transaction: what was open before is gone.
    dropSession(state);
    return challenge(state, keyNo, key, async (rndA, rndB) => {
      const transactionIdentifier = state.random(TRANSACTION_IDENTIFIER_BYTES);
      const keys = await deriveSessionKeys(new Aes128(key.value), rndA, rndB);
      state.session = new Session(keyNo, keys, transactionIdentifier, 0);
      const cardCapabilities = new Uint8Array(MAX_CAPABILITY_BYTES);
      return concatBytes(transactionIdentifier, rotateLeft(rndA), cardCapabilities, readerCapabilities);
    });
  },
};

export const authenticateEv2NonFirst: HandshakeCommand = {
  instruction: 0x77,
  async begin(state, payload) {
    const [keyNo = 0] = payload;
    if (payload.length !== 1) throw new StatusError('LENGTH_ERROR');
    const previous = state.session;
    if (previous === undefined) throw new StatusError('PERMISSION_DENIED');
    const key = requireUsableKey(state, keyNo);
    // Unauthenticated until the second pass succeeds; transaction, TI and counter go on.
    state.session = undefined;
    return challenge(state, keyNo, key, async (rndA, rndB) => {
      const keys = await deriveSessionKeys(new Aes128(key.value), rndA, rndB);
      state.session = new Session(keyNo, keys, previous.transactionIdentifier, previous.commandCounter);
      return rotateLeft(rndA);
    });
  },
};

/** `open` begins the session once the reader has proved the key, and returns what the card proves in turn. */
async function challenge(state: CardState, keyNo: number, key: CardKey, open: (rndA: Bytes, rndB: Bytes) => Promise<Bytes>): Promise<Answer> {
  const cipher = new Aes128(key.value);
  const rndB = state.random(BLOCK_BYTES);
  const next = async (payload: Bytes): Promise<Answer> => {
    if (payload.length !== 2 * BLOCK_BYTES) throw new StatusError('LENGTH_ERROR');
    const nonces = await cipher.decryptCbc(ZERO_BLOCK, payload);
    const isProof = equalBytes(nonces.subarray(BLOCK_BYTES), rotateLeft(rndB));
    await countAttempt(state, keyNo, key, isProof);
    if (!isProof) throw new StatusError('AUTHENTICATION_ERROR');
    const proof = await open(nonces.slice(0, BLOCK_BYTES), rndB);
    return { status: STATUS.OPERATION_OK, data: await cipher.encryptCbc(ZERO_BLOCK, proof) };
  };
  return { status: STATUS.ADDITIONAL_FRAME, data: await cipher.encryptCbc(ZERO_BLOCK, rndB), next };
}

function requireUsableKey(state: CardState, keyNo: number): CardKey {
  // At card level there are only the originality keys, which need LRP.
  const key = state.selected === 'card' ? undefined : selectedApplication(state).keys[keyNo];
  if (key === undefined) throw new StatusError('NO_SUCH_KEY');
  if (key.failures >= state.profile.failureLimit) throw new StatusError('PERMISSION_DENIED');
  return key;
}

/** Failed authentication counter: a failure adds one, a success takes some off, the limit locks the key. */
async function countAttempt(state: CardState, keyNo: number, key: CardKey, succeeded: boolean): Promise<void> {
  const failures = succeeded ? Math.max(0, key.failures - state.profile.failureDecrement) : key.failures + 1;
  if (failures !== key.failures) await commitApplication(state, withKey(selectedApplication(state), keyNo, { ...key, failures }));
}

function rotateLeft(block: Uint8Array): Bytes {
  return concatBytes(block.subarray(1), block.subarray(0, 1));
}
