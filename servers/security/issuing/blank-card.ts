/** A blank DESFire EV2 or EV3 gets our key at card level and the wallet's application, of the same shape as a Light's; torn anywhere, it goes on from what the card shows. */
import { equalBytes, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { ask, authenticate, change, type CardTalk, type CardTurns } from './card-dialog.ts';
import { notOurs } from './card-state.ts';
import { parseChallenge, requestChallenge } from '../desfire/authentication.ts';
import { changeKeySettings, createApplication, getCardUid } from '../desfire/commands.ts';
import { parseFactoryChallenge, PendingFactoryAuthentication, requestFactoryChallenge } from '../desfire/factory-master-key.ts';
import { SW } from '../desfire/instructions.ts';
import { CardRefusal } from '../desfire/refusal.ts';
import { openData, parseOpenKeyVersion, parseVersion, requestOpenKeyVersion, requestVersion, selectCardLevel } from '../desfire/select.ts';
import { commandsOf } from '../desfire/session.ts';
import { FACTORY_KEY_VERSION, type CardKeyStore } from '../key-store/key-store.ts';
import { onlyAnswer, openWallet, parseOpening, WALLET, WALLET_KEYS } from '../layout.ts';

/** GetVersion: DESFire, and the major hardware versions that have EV2 secure messaging and transaction MACs. */
const DESFIRE = 0x01;
const EV2_AND_EV3: readonly number[] = [0x12, 0x33];

/** Master key and settings may change, listing is free, creating and deleting needs the master key. */
const KEY_SETTINGS = 0x0b;
const APPLICATION = {
  /** 0x4B5301, least significant byte first. */
  applicationId: parseHex('01534B'),
  keySettings: KEY_SETTINGS,
  keys: 5,
  /** Of a Light's application too. */
  isoFileId: 0xdf01,
  name: WALLET.applicationName,
} as const;

export interface BlankCardOrder {
  readonly uid: Bytes;
  readonly keyStore: CardKeyStore;
  readonly random: (length: number) => Bytes;
}

/** Outcome: the new application's challenge under its key 0, which is zero still. */
export async function* prepareBlankCard({ uid, keyStore, random }: BlankCardOrder): CardTalk<Bytes> {
  const version = parseVersion(yield ask(requestVersion()));
  if (version.type !== DESFIRE || !EV2_AND_EV3.includes(version.hardwareMajor)) throw new Failure('card/unsupported', { detail: 'neither an EV2 nor an EV3' });
  if (!equalBytes(version.uid, uid)) throw new Failure('card/changed', { detail: 'the card has another UID than the order' });

  const heldVersion = yield* readMasterKeyVersion();
  const keyVersion = heldVersion === FACTORY_KEY_VERSION ? await keyStore.currentVersion() : heldVersion;
  const masterKey = await keyStore.deriveCardKey(uid, 'picc', keyVersion).catch((cause: unknown) => {
    throw notOurs(cause, `the card's master key has version ${keyVersion}`);
  });
  if (heldVersion === FACTORY_KEY_VERSION) yield* replaceFactoryKey(masterKey, keyVersion, random);

  const [selected, challenge] = yield ask([selectCardLevel(), requestChallenge(WALLET_KEYS.master)]);
  requireSelected(selected);
  const session = yield* authenticate(masterKey, parseChallenge(answered(challenge)), random);
  if (session === undefined) throw new Failure('card/already-issued', { detail: 'the card\'s master key is not ours' });
  const batch = [session.seal(getCardUid()), session.seal(changeKeySettings(KEY_SETTINGS)), session.seal(createApplication(APPLICATION))] as const;
  const answers = yield change([...commandsOf(batch), ...openWallet(WALLET_KEYS.master)]);
  try {
    const [uidInside] = session.openBatch(batch, answers.slice(0, batch.length));
    if (!equalBytes(uidInside, uid)) throw new Failure('card/changed', { detail: 'the card has another UID inside the session' });
  } catch (cause) {
    throw cause instanceof CardRefusal ? refusedApplication(cause) : cause;
  }
  session.end();
  return parseOpening(answers.slice(batch.length));
}

function* readMasterKeyVersion(): CardTurns<number> {
  const [selected, version] = yield ask([selectCardLevel(), requestOpenKeyVersion(WALLET_KEYS.master)]);
  requireSelected(selected);
  return parseOpenKeyVersion(answered(version));
}

/** The change is answered without a MAC: the authentication that follows proves it. */
function* replaceFactoryKey(masterKey: Bytes, keyVersion: number, random: (length: number) => Bytes): CardTurns<void> {
  const [selected, challenge] = yield ask([selectCardLevel(), requestFactoryChallenge()]);
  requireSelected(selected);
  const pending = new PendingFactoryAuthentication(underFactoryKey(() => parseFactoryChallenge(answered(challenge))), random(8));
  const proof = onlyAnswer(yield ask([pending.command]));
  const [changed] = yield change([underFactoryKey(() => pending.changeMasterKey(proof, masterKey, keyVersion))]);
  openData(answered(changed), SW.Ok);
}

/** A card whose master key is another DES key refuses our half of the authentication, one whose key is an AES key refuses to begin. */
function underFactoryKey<T>(act: () => T): T {
  try {
    return act();
  } catch (cause) {
    const isRefused = cause instanceof CardRefusal && cause.statusWord === SW.AuthenticationError;
    throw isRefused ? new Failure('card/already-issued', { cause, detail: 'the card\'s master key is not the factory\'s' }) : cause;
  }
}

function refusedApplication(cause: CardRefusal): Failure {
  if (cause.statusWord === SW.OutOfMemory) return new Failure('card/full', { cause });
  // Ours would have been selected by its name.
  if (cause.statusWord === SW.Duplicate) return new Failure('card/already-issued', { cause, detail: 'another application has this identifier' });
  return cause;
}

function requireSelected(answer: Bytes | undefined): void {
  openData(answered(answer), SW.Ok);
}

function answered(answer: Bytes | undefined): Bytes {
  if (answer === undefined) throw new Failure('card/removed', { detail: 'no answer' });
  return answer;
}
