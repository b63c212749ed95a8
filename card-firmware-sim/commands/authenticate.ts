/** AuthenticateEV2First and AuthenticateEV2NonFirst: mutual proof of one key in two passes, and the session that comes of it. */
import { Aes128, BLOCK_BYTES, ZERO_BLOCK } from '../crypto.ts';
import { concatBytes, equalBytes } from '#protocol/bytes.ts';
import { deriveSessionKeys, Session } from '../secure-messaging.ts';
import { commitKey, findKey } from './level-keys.ts';
import { dropSession } from '../command.ts';
import { STATUS, StatusError } from '../status.ts';
import type { Answer, CardState, HandshakeCommand } from '../command.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardKey } from '../card-image.ts';
import type { SessionKeys } from '../secure-messaging.ts';

const MAX_CAPABILITY_BYTES = 6;
const MAX_FAILURES_IN_A_ROW = 255;
const TRANSACTION_IDENTIFIER_BYTES = 4;

export const authenticateEv2First: HandshakeCommand = {
  instruction: 0x71,
  async begin(state, payload) {
    const [keyNo = 0, capabilityBytes = 0] = payload;
    if (payload.length < 2 || capabilityBytes > MAX_CAPABILITY_BYTES || payload.length !== 2 + capabilityBytes) throw new StatusError('LENGTH_ERROR');
    const readerCapabilities = new Uint8Array(MAX_CAPABILITY_BYTES);
    readerCapabilities.set(payload.subarray(2));
    const key = requireUsableKey(state, keyNo);
    state.session = undefined;
    // It starts a new transaction: what was open before is gone.
    if (state.profile.firstAuthentication === 'aborts-transaction') dropSession(state);
    // A reader that asks for LRP gets AES all the same, and may take it (NT4H2421Gx, table 19).
    return challenge(state, keyNo, key, (sessionKeys, rotatedA) => {
      const transactionIdentifier = state.random(TRANSACTION_IDENTIFIER_BYTES);
      state.session = new Session(keyNo, sessionKeys, transactionIdentifier, 0);
      const cardCapabilities = concatBytes(new Uint8Array(4), state.memory.image.picc.configuration.capabilities);
      return concatBytes(transactionIdentifier, rotatedA, cardCapabilities, readerCapabilities);
    });
  },
};

export const authenticateEv2NonFirst: HandshakeCommand = {
  instruction: 0x77,
  async begin(state, payload) {
    const [keyNo = 0] = payload;
    if (payload.length !== 1) throw new StatusError('LENGTH_ERROR');
    const previous = state.session;
    if (!(previous instanceof Session)) throw new StatusError('PERMISSION_DENIED');
    const key = requireUsableKey(state, keyNo);
    // Unauthenticated until the second pass succeeds; transaction, TI and counter go on.
    state.session = undefined;
    return challenge(state, keyNo, key, (sessionKeys, rotatedA) => {
      state.session = new Session(keyNo, sessionKeys, previous.transactionIdentifier, previous.commandCounter);
      return rotatedA;
    });
  },
};

/** `open` begins the session once the reader has proved the key, and returns what the card proves in turn. */
async function challenge(state: CardState, keyNo: number, key: CardKey, open: (sessionKeys: SessionKeys, rotatedA: Bytes) => Bytes): Promise<Answer> {
  const cipher = new Aes128(key.value);
  const rndB = state.random(BLOCK_BYTES);
  const next = async (payload: Bytes): Promise<Answer> => {
    if (payload.length !== 2 * BLOCK_BYTES) throw new StatusError('LENGTH_ERROR');
    const nonces = await cipher.decryptCbc(ZERO_BLOCK, payload);
    const isProof = equalBytes(nonces.subarray(BLOCK_BYTES), rotateLeft(rndB));
    await countAttempt(state, keyNo, key, isProof);
    if (!isProof) throw new StatusError('AUTHENTICATION_ERROR');
    const rndA = nonces.subarray(0, BLOCK_BYTES);
    const proof = open(await deriveSessionKeys(cipher, rndA, rndB), rotateLeft(rndA));
    return { status: STATUS.OPERATION_OK, data: await cipher.encryptCbc(ZERO_BLOCK, proof) };
  };
  return { status: STATUS.ADDITIONAL_FRAME, data: await cipher.encryptCbc(ZERO_BLOCK, rndB), next };
}

function requireUsableKey(state: CardState, keyNo: number): CardKey {
  // At the card level of a Light there are only the originality keys, which need LRP.
  const key = findKey(state, keyNo);
  if (key === undefined) throw new StatusError('NO_SUCH_KEY');
  if ('type' in key && key.type !== 'aes') throw new StatusError('AUTHENTICATION_ERROR');
  const { isCounted, limit } = state.memory.image.picc.configuration.failedAuthentications;
  if (isCounted && key.failures >= limit) throw new StatusError('PERMISSION_DENIED');
  if (isCounted && isDelayed(state, key)) throw new StatusError('AUTHENTICATION_DELAY');
  return key;
}

/** AN12196, 6.4: after many failures in a row a key answers AD for a while before it takes the next attempt. The while begins anew with each failure and each activation. */
function isDelayed({ profile, delays, receivedAt }: CardState, key: CardKey): boolean {
  const delay = profile.authenticationDelay;
  if (delay === undefined || key.failuresInARow < delay.afterFailures) return false;
  const until = delays.get(key) ?? receivedAt + delay.stepMs * (key.failuresInARow - delay.afterFailures + 1);
  delays.set(key, until);
  return receivedAt < until;
}

/** Failed authentication counter: a failure adds one, a success takes some off, the limit locks the key. */
async function countAttempt(state: CardState, keyNo: number, key: CardKey, succeeded: boolean): Promise<void> {
  const { isCounted, decrement } = state.memory.image.picc.configuration.failedAuthentications;
  if (!isCounted) return;
  const failures = succeeded ? Math.max(0, key.failures - decrement) : key.failures + 1;
  const failuresInARow = succeeded ? 0 : Math.min(key.failuresInARow + 1, MAX_FAILURES_IN_A_ROW);
  if (failures === key.failures && failuresInARow === key.failuresInARow) return;
  await commitKey(state, keyNo, { ...key, failures, failuresInARow });
}

/** A nonce as it comes back: its first byte last. */
export function rotateLeft(block: Uint8Array): Bytes {
  return concatBytes(block.subarray(1), block.subarray(0, 1));
}
