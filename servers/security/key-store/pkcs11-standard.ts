/** Numbers of PKCS#11 2.40 as the standard spells them: those that the key store uses, and names of statuses for its messages. */

/** Place in CK_FUNCTION_LIST, and the parameters: p a pointer, b a byte (CK_BBOOL), u a word (CK_ULONG). */
export const FUNCTIONS = {
  C_Initialize: { index: 0, parameters: 'p' },
  C_Finalize: { index: 1, parameters: 'p' },
  C_GetSlotList: { index: 4, parameters: 'bpp' },
  C_GetTokenInfo: { index: 6, parameters: 'up' },
  C_OpenSession: { index: 12, parameters: 'uuppp' },
  C_CloseSession: { index: 13, parameters: 'u' },
  C_Login: { index: 18, parameters: 'uupu' },
  C_DestroyObject: { index: 22, parameters: 'uu' },
  C_GetAttributeValue: { index: 24, parameters: 'uupu' },
  C_FindObjectsInit: { index: 26, parameters: 'upu' },
  C_FindObjects: { index: 27, parameters: 'upup' },
  C_FindObjectsFinal: { index: 28, parameters: 'u' },
  C_EncryptInit: { index: 29, parameters: 'upu' },
  C_Encrypt: { index: 30, parameters: 'upupp' },
  C_GenerateKey: { index: 58, parameters: 'uppup' },
} as const;

export const CKU_USER = 1;
export const CKO_SECRET_KEY = 4n;
export const CKK_AES = 0x1fn;
export const CKM = { AES_KEY_GEN: 0x1080, AES_CBC: 0x1082 } as const;
/** Of sessions, of C_Initialize, and of tokens. */
export const CKF = { RW_SESSION: 2, SERIAL_SESSION: 4, OS_LOCKING_OK: 2, USER_PIN_FINAL_TRY: 0x20000, USER_PIN_LOCKED: 0x40000 } as const;
export const CKA = {
  CLASS: 0x000, TOKEN: 0x001, PRIVATE: 0x002, LABEL: 0x003, KEY_TYPE: 0x100, ID: 0x102, SENSITIVE: 0x103, ENCRYPT: 0x104, DECRYPT: 0x105, WRAP: 0x106,
  UNWRAP: 0x107, SIGN: 0x108, VERIFY: 0x10a, DERIVE: 0x10c, VALUE_LEN: 0x161, EXTRACTABLE: 0x162, MODIFIABLE: 0x170,
} as const;
export type AttributeName = keyof typeof CKA;

/** Numbers are words (CK_ULONG), truths are bytes (CK_BBOOL), texts are UTF-8 without an end. */
export type Template = Readonly<Partial<Record<AttributeName, bigint | boolean | string | Uint8Array>>>;

/** Ours are a label and an id; whatever is longer is not ours. */
export const MAX_ATTRIBUTE_BYTES = 256;
/** CK_UNAVAILABLE_INFORMATION. */
export const UNAVAILABLE = 0xffff_ffff_ffff_ffffn;

export function encodeAttribute(value: bigint | boolean | string | Uint8Array): Uint8Array {
  if (typeof value === 'bigint') return new Uint8Array(BigUint64Array.of(value).buffer);
  if (typeof value === 'boolean') return Uint8Array.of(value ? 1 : 0);
  return typeof value === 'string' ? new TextEncoder().encode(value) : value;
}

const CKR: Readonly<Record<number, string>> = {
  0x02: 'CKR_HOST_MEMORY', 0x03: 'CKR_SLOT_ID_INVALID', 0x05: 'CKR_GENERAL_ERROR', 0x06: 'CKR_FUNCTION_FAILED', 0x11: 'CKR_ATTRIBUTE_SENSITIVE',
  0x12: 'CKR_ATTRIBUTE_TYPE_INVALID', 0x13: 'CKR_ATTRIBUTE_VALUE_INVALID', 0x30: 'CKR_DEVICE_ERROR', 0x31: 'CKR_DEVICE_MEMORY', 0x32: 'CKR_DEVICE_REMOVED',
  0x54: 'CKR_FUNCTION_NOT_SUPPORTED', 0x60: 'CKR_KEY_HANDLE_INVALID', 0x63: 'CKR_KEY_TYPE_INCONSISTENT', 0x68: 'CKR_KEY_FUNCTION_NOT_PERMITTED',
  0x70: 'CKR_MECHANISM_INVALID', 0x82: 'CKR_OBJECT_HANDLE_INVALID', 0x90: 'CKR_OPERATION_ACTIVE', 0x91: 'CKR_OPERATION_NOT_INITIALIZED',
  0xa0: 'CKR_PIN_INCORRECT', 0xa1: 'CKR_PIN_INVALID', 0xa2: 'CKR_PIN_LEN_RANGE', 0xa3: 'CKR_PIN_EXPIRED', 0xa4: 'CKR_PIN_LOCKED',
  0xb0: 'CKR_SESSION_CLOSED', 0xb1: 'CKR_SESSION_COUNT', 0xb3: 'CKR_SESSION_HANDLE_INVALID', 0xb5: 'CKR_SESSION_READ_ONLY', 0xd0: 'CKR_TEMPLATE_INCOMPLETE',
  0xd1: 'CKR_TEMPLATE_INCONSISTENT', 0xe0: 'CKR_TOKEN_NOT_PRESENT', 0xe1: 'CKR_TOKEN_NOT_RECOGNIZED', 0xe2: 'CKR_TOKEN_WRITE_PROTECTED',
  0x100: 'CKR_USER_ALREADY_LOGGED_IN', 0x101: 'CKR_USER_NOT_LOGGED_IN', 0x102: 'CKR_USER_PIN_NOT_INITIALIZED', 0x190: 'CKR_CRYPTOKI_NOT_INITIALIZED',
  0x191: 'CKR_CRYPTOKI_ALREADY_INITIALIZED',
};

/** For messages: the standard's name, or the number. */
export function statusName(status: number): string {
  return CKR[status] ?? `CKR 0x${status.toString(16)}`;
}

export const ALREADY_INITIALIZED = 0x191;
export const ALREADY_LOGGED_IN = 0x100;
/** An attribute that cannot be read, that there is not, or that is longer than what is ours. */
export const ATTRIBUTE_TYPES: ReadonlySet<number> = new Set([0x11, 0x12, 0x150]);
/** The token has refused the PIN itself: asking again with the same one would lock it. */
export const PIN_REFUSED: ReadonlySet<number> = new Set([0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0x102]);
/** Our session, our login or our handles are no more: all of it is made anew, once. */
export const SESSION_LOST: ReadonlySet<number> = new Set([0x30, 0x32, 0x60, 0x82, 0x90, 0xb0, 0xb3, 0xe0, 0xe1, 0x101, 0x190]);
