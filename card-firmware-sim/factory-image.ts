/** Cards as they leave the factory: a Light with five zero keys, its fixed files and reader-id commitment switched on; an EV2 or EV3 blank. */
import { parseAccessRights } from './access-rights.ts';
import { KEY_SETTING, WALLET_NAME } from './card-image.ts';
import { PROFILES } from './profile.ts';
import { COMM_MODE } from './secure-messaging.ts';
import { BLOCK_BYTES, ZERO_BLOCK } from './crypto.ts';
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardConfiguration, CardFile, CardImage, CardKey } from './card-image.ts';
import type { CommMode } from './secure-messaging.ts';
import type { ProfileName } from './profile.ts';
import type { Random } from './crypto.ts';

export const UID_BYTES = 7;
/** ISO 7816-6: NXP, and so the first byte of every UID of theirs. */
const NXP = 0x04;
/** Nothing about a blank card is closed yet. */
const ALL_SETTINGS = KEY_SETTING.MASTER_KEY_CHANGEABLE | KEY_SETTING.FREE_LISTING | KEY_SETTING.FREE_CREATE_DELETE | KEY_SETTING.SETTINGS_CHANGEABLE;
const LIGHT_DF_ID = 0xdf01;
const LIGHT_KEY_COUNT = 5;
const MAX_INT32 = 0x7fffffff;

/** AN12196, 6.4, and NT4H2421Gx table 50: the defaults at delivery. */
const FACTORY_CONFIGURATION: CardConfiguration = {
  failedAuthentications: { isCounted: true, limit: 1000, decrement: 10 },
  capabilities: new Uint8Array(2),
  isRenamed: false,
};

interface FactoryOptions {
  /** Default: a Light. */
  readonly profile?: ProfileName | undefined;
  /** 7 bytes, random if not given. */
  readonly uid?: Uint8Array | undefined;
  readonly random: Random;
  /** Of a Light; default: that of the profile. */
  readonly factoryTransactionMacKey?: Bytes;
}

/** Image of a factory-fresh card. Throws RangeError on a UID of another length. */
export function createFactoryImage({ profile = 'light', ...options }: FactoryOptions): CardImage {
  const uid: Bytes = options.uid === undefined ? concatBytes(new Uint8Array([NXP]), options.random(UID_BYTES - 1)) : new Uint8Array(options.uid);
  if (uid.length !== UID_BYTES) throw new RangeError(`a card's UID has ${UID_BYTES} bytes`);
  const factoryKey: CardKey = { value: ZERO_BLOCK, version: 0, failures: 0, failuresInARow: 0 };
  if (profile !== 'light') return { profile, uid, picc: { masterKey: { type: '2k3des', ...factoryKey }, keySettings: ALL_SETTINGS, lostBytes: 0, configuration: FACTORY_CONFIGURATION }, applications: [] };
  return lightImage(
    uid,
    Array.from({ length: LIGHT_KEY_COUNT }, () => factoryKey),
    lightFiles(options.factoryTransactionMacKey ?? PROFILES[profile].factoryTransactionMacKey),
  );
}

/** A Light with what is its own; the rest is the same on all of them. */
export function lightImage(uid: Bytes, keys: readonly CardKey[], files: readonly CardFile[]): CardImage {
  return {
    profile: 'light',
    uid,
    picc: { masterKey: undefined, keySettings: 0, lostBytes: 0, configuration: FACTORY_CONFIGURATION },
    applications: [
      {
        aid: undefined,
        isoId: LIGHT_DF_ID,
        name: WALLET_NAME,
        keySettings: KEY_SETTING.MASTER_KEY_CHANGEABLE | KEY_SETTING.FREE_LISTING,
        hasIsoFileIds: true,
        keys,
        files,
      },
    ],
  };
}

/** Data sheet MF2DL(H)x0, "delivery configuration"; the order is the one in which GetFileIDs lists them. */
function lightFiles(appTmKey: Bytes): readonly CardFile[] {
  return [
    {
      type: 'transaction-mac',
      ...common(0x0f, [0x10, 0x1f], COMM_MODE.FULL),
      appTmKey,
      keyVersion: 0,
      counter: 0,
      tmv: new Uint8Array(8),
      readerId: new Uint8Array(BLOCK_BYTES),
      counterLimit: undefined,
    },
    { type: 'standard', ...common(0x1f, [0x30, 0xef], COMM_MODE.PLAIN), isoId: 0xef1f, content: new Uint8Array(32) },
    {
      type: 'value',
      ...common(0x03, [0x30, 0x12], COMM_MODE.FULL),
      lower: 0,
      upper: MAX_INT32,
      value: 0,
      limitedCredit: 0,
      limitedCreditEnabled: true,
      freeGetValue: true,
      configured: false,
    },
    { type: 'standard', ...common(0x00, [0x30, 0x1f], COMM_MODE.FULL), isoId: 0xef00, content: new Uint8Array(256) },
    { type: 'cyclic', ...common(0x01, [0x30, 0x12], COMM_MODE.FULL), isoId: 0xef01, recordBytes: 16, maxRecords: 5, records: [] },
    { type: 'standard', ...common(0x04, [0x30, 0x12], COMM_MODE.FULL), isoId: 0xef04, content: new Uint8Array(256) },
  ];
}

function common(number: number, rights: readonly [number, number], mode: CommMode): Pick<CardFile, 'number' | 'mode' | 'rights'> {
  return { number, mode, rights: parseAccessRights(new Uint8Array(rights)) };
}
