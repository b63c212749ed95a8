/**
 * Re-keying: a card gets all keys of a newer version, key 0 last, and goes on from whatever mixture of two versions a torn attempt has left.
 * A re-keying that was torn is finished as it was begun, even if the store has a yet newer version: so a card never has keys of more than two.
 */
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { ask, authenticate, change, type CardTalk, type CardTurns } from './card-dialog.ts';
import { deriveCardKeys, renewKeys, requestKeyState, requestTransactionMacVersion, type KeyState } from './card-state.ts';
import { PendingAuthentication } from '../desfire/authentication.ts';
import { commandsOf, type CardSession } from '../desfire/session.ts';
import type { CardKeyStore } from '../key-store/key-store.ts';
import { openWallet, parseOpening, WALLET, WALLET_KEYS } from '../layout.ts';

export interface RekeyOrder {
  readonly uid: Bytes;
  readonly fromVersion: number;
  readonly toVersion: number;
  /** It was begun before: any key may be of either version. */
  readonly isTorn: boolean;
  readonly keyStore: CardKeyStore;
  readonly random: (length: number) => Bytes;
  /** Remembers durably that it begins; awaited before the first change leaves. */
  readonly begin: () => Promise<void>;
  /** Remembers durably that every key is of the newer version; called once that is proved. */
  readonly finish: () => Promise<void>;
}

/** Outcome: the card's challenge under key 1. */
export async function* rekeyCard(order: RekeyOrder): CardTalk<Bytes> {
  const { uid, keyStore, random } = order;
  const [older, newer] = await Promise.all([deriveCardKeys(keyStore, uid, order.fromVersion), deriveCardKeys(keyStore, uid, order.toVersion)]);
  const byOlder = yield* openMaster(older.cardKeys[WALLET_KEYS.master], random);
  const byNewer = byOlder === undefined && order.isTorn ? yield* openMaster(newer.cardKeys[WALLET_KEYS.master], random) : undefined;
  const session = byOlder ?? byNewer;
  if (session === undefined) throw new Failure('card/not-genuine', { detail: 'key 0 is of none of the versions that it can be of' });

  const request = requestKeyState(session, uid);
  const state = request.parse(yield ask(request.commands));
  const unknown = state.keyVersions.findIndex((version) => version !== order.fromVersion && version !== order.toVersion);
  if (unknown >= 0) throw new Failure('card/not-genuine', { detail: `key ${unknown} has version ${state.keyVersions[unknown] ?? -1}` });
  const masterIsRenewed = byNewer !== undefined;
  const fileIsRenewed = order.isTorn && (yield* readTransactionMacVersion(session, state)) === newer.version;
  const batch = (await renewKeys(state, newer, uid, keyStore, { masterIsRenewed, fileIsRenewed })).map((command) => session.seal(command));

  await order.begin();
  const answers = yield change([...commandsOf(batch), ...openWallet(masterIsRenewed ? WALLET_KEYS.pay : WALLET_KEYS.master)]);
  session.openBatch(batch, answers.slice(0, batch.length));
  session.end();
  const opening = answers.slice(batch.length);
  if (masterIsRenewed) {
    await order.finish();
    return parseOpening(opening);
  }
  // The change of key 0 was answered without a MAC: only an authentication proves it.
  const pending = new PendingAuthentication({ authenticationKey: newer.cardKeys[WALLET_KEYS.master], challenge: parseOpening(opening), hostRandom: random(16) });
  const [proof, ...payOpening] = yield ask([pending.command, ...openWallet(WALLET_KEYS.pay)]);
  if (proof === undefined) throw new Failure('card/removed', { detail: 'no proof of key 0' });
  pending.verify(proof).end();
  await order.finish();
  return parseOpening(payOpening);
}

/** The question for a missing file would end the session. */
function* readTransactionMacVersion(session: CardSession, { fileIds }: KeyState): CardTurns<number | undefined> {
  if (!fileIds.includes(WALLET.transactionMacFile)) return undefined;
  const request = requestTransactionMacVersion(session);
  return request.parse(yield ask(request.commands));
}

function* openMaster(masterKey: Bytes, random: (length: number) => Bytes): CardTurns<CardSession | undefined> {
  const challenge = parseOpening(yield ask(openWallet(WALLET_KEYS.master)));
  return yield* authenticate(masterKey, challenge, random);
}
