/** What one model of the family answers about itself, and the points on which published documents leave a choice. */
import { parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

export interface Profile {
  /** As a PC/SC reader composes it for a contactless card. */
  readonly atr: Bytes;
  readonly hardwareVersion: Bytes;
  readonly softwareVersion: Bytes;
  /** The third GetVersion frame after the UID: batch, calendar week and year. */
  readonly production: Bytes;
  readonly fciFileNumber: number;
  /** Whether applications and files are made and deleted; a Light has fixed ones, but for its transaction-MAC file. */
  readonly hasFreeFiles: boolean;
  /** For applications and files. */
  readonly memoryBytes: number;
  /** AD: a key that failed so often in a row takes its next attempt only after a while, one step longer for each failure more. Undefined: never. */
  readonly authenticationDelay: { readonly afterFailures: number; readonly stepMs: number } | undefined;
  /** What AuthenticateEV2First does to an open transaction. */
  readonly firstAuthentication: 'aborts-transaction' | 'keeps-transaction';
  /** What a new command does to a multi-frame command that was not finished. */
  readonly onInterruption: 'abort' | 'start-anew';
  /** The status of a commit or abort with nothing to do. */
  readonly emptyTransaction: 'NO_CHANGES' | 'OPERATION_OK';
  /** Which value GetValue shows while a change is not committed. */
  readonly openValue: 'committed' | 'shadow';
  /** What a LimitedCredit that gave back a part leaves for another. */
  readonly limitedCreditLeft: 'nothing' | 'the-rest';
  /** Which bits of a value file's option GetFileSettings shows: both of SetConfiguration, or LimitedCredit alone. */
  readonly valueOptionShown: 'both' | 'limited-credit';
  /** Whether GetFileSettings tells the limit of the transaction counter, where there is one. */
  readonly counterLimitShown: boolean;
  /** AppTransactionMACKey of the transaction-MAC file as delivered. */
  readonly factoryTransactionMacKey: Bytes;
}

export const MASTER_FILE_ID = 0x3f00;
export const MASTER_FILE_NAME = parseHex('D2760000850100');

/** MIFARE DESFire Light, MF2DL1000 (640 bytes). */
const LIGHT: Profile = {
  atr: parseHex('3B8180018080'),
  hardwareVersion: parseHex('04080130001305'),
  softwareVersion: parseHex('04080101001305'),
  production: parseHex('FFFFFFFFFF4017'),
  fciFileNumber: 0x1f,
  hasFreeFiles: false,
  memoryBytes: 640,
  // AN12196, 6.4: 50 failures; NT4H2421Gx, 9: each AD takes about 65 % of the frame waiting time of 38.7 ms.
  authenticationDelay: { afterFailures: 50, stepMs: 25 },
  firstAuthentication: 'aborts-transaction',
  onInterruption: 'abort',
  emptyTransaction: 'NO_CHANGES',
  openValue: 'committed',
  limitedCreditLeft: 'nothing',
  valueOptionShown: 'both',
  counterLimitShown: true,
  factoryTransactionMacKey: new Uint8Array(16),
};

/** MIFARE DESFire EV2, MF3D42 (4 kB). Versions as cards on the market answer them. */
const EV2: Profile = {
  ...LIGHT,
  hardwareVersion: parseHex('04010112001805'),
  softwareVersion: parseHex('04010102011805'),
  hasFreeFiles: true,
  // A blank card of 2 kB says that 2304 bytes are free; this is in proportion.
  memoryBytes: 4608,
};

/** MIFARE DESFire EV3, MF3D43 (4 kB). */
const EV3: Profile = {
  ...EV2,
  hardwareVersion: parseHex('04010133001805'),
  softwareVersion: parseHex('04010103001805'),
};

export const PROFILES = { light: LIGHT, ev2: EV2, ev3: EV3 } as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;
export const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];
