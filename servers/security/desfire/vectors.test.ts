/** Every published vector, from the host's side; whole files only, because the last test asks what the others have read. */
import { describe, expect, it } from 'vitest';
import { responseData, wrapNative } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { readVectors, type Vector } from '../vectors/vectors.fixture.ts';
import { deriveSessionVectors, parseChallenge, PendingAuthentication, requestChallenge, type KeyNumber } from './authentication.ts';
import { AesCmac, decryptCbc, encryptCbc } from './cmac.ts';
import * as commands from './commands.ts';
import { diversifyKey } from './diversification.ts';
import { initialVector, openAnswer, sealCommand, type SessionKeys } from './secure-messaging.ts';
import { selectApplication } from './select.ts';
import { CardSession, type TypedCommand } from './session.ts';
import GENERATED from '../vectors/desfire-session-generated.json' with { type: 'json' };
import { deriveTransactionEncryptionSessionKey, deriveTransactionMacSessionKey, encryptPreviousReaderId } from './transaction-mac.ts';

const VECTORS = readVectors();
const vectorOf = (id: string): Vector => VECTORS.find((vector) => vector.id === id) ?? expect.fail(id);

const sessionKeys = (vector: Vector): SessionKeys => ({
  encryptionKey: vector.bytes('SesAuthENCKey'),
  mac: new AesCmac(vector.bytes('SesAuthMACKey')),
  transactionIdentifier: vector.bytes('TI'),
});

function checkSessionKeys(vector: Vector): void {
  const derived = deriveSessionVectors(vector.bytes('RndA'), vector.bytes('RndB'));
  const cmac = new AesCmac(vector.bytes('key'));
  expect(encodeHex(cmac.compute(derived.encryption))).toBe(vector.text('SesAuthENCKey'));
  expect(encodeHex(cmac.compute(derived.mac))).toBe(vector.text('SesAuthMACKey'));
}

function authenticate(vector: Vector): CardSession {
  expect(encodeHex(requestChallenge(vector.number('keyNo') as KeyNumber).apdu)).toBe(vector.text('capdu1'));
  const challenge = parseChallenge(vector.bytes('rapdu1'));
  const pending = new PendingAuthentication({ authenticationKey: vector.bytes('key'), challenge, hostRandom: vector.bytes('RndA') });
  expect(encodeHex(pending.command.apdu)).toBe(vector.text('capdu2'));
  return pending.verify(vector.bytes('rapdu2'));
}

function checkAuthentication(vector: Vector): void {
  expect(authenticate(vector).isAlive).toBe(true);
  checkSessionKeys(vector);
  const proof = encodeHex(decryptCbc(vector.bytes('key'), responseData(vector.bytes('rapdu2'))));
  expect([proof.slice(0, 8), proof.slice(40)]).toEqual([vector.text('TI'), vector.text('PDcap2') + vector.text('PCDcap2')]);
}

/** The protection as the entry tells it: a bare status word has none. */
function protectionOf(vector: Vector): { command: 'mac' | 'full'; answer: 'mac' | 'full' | 'none' } {
  const answer = vector.text('respMode') === 'Full' ? 'full' : 'mac';
  return { command: vector.text('commMode') === 'Full' ? 'full' : 'mac', answer: vector.text('rapdu') === '9100' ? 'none' : answer };
}

function checkMessaging(vector: Vector): void {
  const { command: protection, answer } = protectionOf(vector);
  const command = { instruction: Number.parseInt(vector.text('cmd'), 16), header: vector.bytes('cmdHeader'), data: vector.bytes('cmdData'), protection };
  const counter = vector.number('CmdCtr');
  expect(encodeHex(sealCommand(sessionKeys(vector), counter, command).apdu)).toBe(vector.text('capdu'));
  const response = vector.bytes('rapdu');
  expect(encodeHex(openAnswer(sessionKeys(vector), counter, answer, response))).toBe(vector.text('respData'));
  for (let bit = 0; bit < (answer === 'none' ? 0 : response.length * 8); bit++) {
    const tampered = response.slice();
    tampered[bit >> 3] = (tampered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(() => openAnswer(sessionKeys(vector), counter, answer, tampered)).toThrow();
  }
}

/** The commands that we never send outside a session, or not at all: the framing is what can be compared. */
const PLAIN: Readonly<Record<string, Bytes>> = {
  'an12343-t34-getvalue-plain-free': wrapNative(commands.getValue(3).instruction, commands.getValue(3).header),
  'an12343-select-dfname': selectApplication(parseHex('A00000039656434103F015400000000B')).apdu,
  'an12343-select-fid': parseHex('00A4000002DF0100'),
  'an12343-getversion-1': wrapNative(0x60),
  'an12343-getversion-3': wrapNative(0xaf),
  'an12343-getfileids': wrapNative(commands.getFileIds().instruction),
  'an12343-getfilesettings-00': wrapNative(commands.getFileSettings(0).instruction, commands.getFileSettings(0).header),
  'an12343-getfilesettings-03': wrapNative(commands.getFileSettings(3).instruction, commands.getFileSettings(3).header),
  'an12343-getisofileids': wrapNative(0x61),
};

/** What the plain answers say; where a command of ours asks the same, as it reads them. */
const PLAIN_ANSWERS: Readonly<Record<string, (data: Bytes) => void>> = {
  'an12343-t34-getvalue-plain-free': (data) => expect(commands.getValue(3).parse(data)).toBe(0n),
  'an12343-getfileids': (data) => expect(encodeHex(commands.getFileIds().parse(data))).toBe('0F1F03000104'),
  'an12343-getfilesettings-00': (data) => expect(encodeHex(commands.getFileSettings(0).parse(data))).toBe('0003301F000100'),
  'an12343-getfilesettings-03': (data) => expect(encodeHex(commands.getFileSettings(3).parse(data))).toBe('0203301200000000FFFFFF7F0000000003'),
  'an12343-getversion-3': (data) => expect(encodeHex(data.subarray(0, 7))).toBe('04DE5F1EACC040'),
};

const CHECKS: Readonly<Record<string, (vector: Vector) => void>> = {
  'auth-ev2-first': checkAuthentication,
  'secure-messaging': checkMessaging,
  'session-keys': checkSessionKeys,
  'iv-command': (vector) => {
    const keys = { encryptionKey: vector.bytes('SesAuthENCKey'), transactionIdentifier: vector.bytes('TI') };
    expect(encodeHex(initialVector(keys, Uint8Array.of(0xa5, 0x5a), vector.number('CmdCtr')))).toBe(vector.text('iv'));
  },
  'tmac-session-keys': (vector) => {
    const input = { transactionMacKey: vector.bytes('AppTransactionMACKey'), uid: vector.bytes('UID'), transactionCounter: vector.number('committedTMC') };
    expect(encodeHex(deriveTransactionMacSessionKey(input))).toBe(vector.text('SesTMMACKey'));
    expect(encodeHex(deriveTransactionEncryptionSessionKey(input))).toBe(vector.text('SesTMENCKey'));
  },
  tmv: (vector) => {
    expect(encodeHex(new AesCmac(vector.bytes('SesTMMACKey')).computeShort(vector.bytes('TMI')))).toBe(vector.text('TMV'));
  },
  enctmri: (vector) => {
    expect(encodeHex(encryptPreviousReaderId(vector.bytes('SesTMENCKey'), vector.bytes('TMRIPrev')))).toBe(vector.text('EncTMRI'));
  },
  'an10922-aes128': (vector) => {
    const masterKey = vector.bytes('masterKey');
    expect(encodeHex(diversifyKey(masterKey, vector.bytes('divInput')))).toBe(vector.text('divKey'));
    if (vector.has('K1')) checkSubkeys(masterKey, vector);
    // What fits in one block and its padding is where a plain CMAC would differ.
    else expect(encodeHex(new AesCmac(masterKey).compute(Uint8Array.of(0x01), vector.bytes('divInput')))).not.toBe(vector.text('divKey'));
  },
  'cmac-subkeys': (vector) => {
    expect(encodeHex(encryptCbc(vector.bytes('key'), new Uint8Array(16)))).toBe(vector.text('encipheredZero'));
    checkSubkeys(vector.bytes('key'), vector);
  },
  'aes-cmac': (vector) => {
    expect(encodeHex(new AesCmac(vector.bytes('key')).compute(vector.bytes('msg')))).toBe(vector.text('mac'));
  },
  plain: (vector) => {
    expect(encodeHex(PLAIN[vector.id] ?? new Uint8Array())).toBe(vector.text('capdu'));
    expect(vector.text('rapdu')).toMatch(/(9000|9100|91AF)$/);
    PLAIN_ANSWERS[vector.id]?.(responseData(vector.bytes('rapdu')));
  },
};

function checkSubkeys(key: Bytes, vector: Vector): void {
  const { subkey1, subkey2 } = new AesCmac(key);
  expect([encodeHex(subkey1), encodeHex(subkey2)]).toEqual([vector.text('K1'), vector.text('K2')]);
}

describe('published vectors', () => {
  it.each(VECTORS.map((vector) => [vector.id, vector] as const))('%s', (_id, vector) => {
    const check = CHECKS[vector.kind] ?? expect.fail(`no check for ${vector.kind}`);
    check(vector);
  });
});

/** What the typed command of an entry is, and what it makes of the published answer. */
interface Typed {
  readonly command: TypedCommand<unknown>;
  readonly value: unknown;
}

const typed = <T>(command: TypedCommand<T>, value: T): Typed => ({ command, value });
/** No command of ours does these: they are checked above with header, data and protection from the entry. */
const UNUSED = ['an12343-t6-setconfig-ats', 'an12343-t23-writedata-mac', 'an12343-t25-writedata-full', 'an12343-t26-readdata-full', 'an12196-changefilesettings-full'] as const;

const TYPED: Readonly<Record<string, Typed>> = {
  'an12343-t7-getcarduid': typed(commands.getCardUid(), parseHex('04DE5F1EACC040')),
  'an12343-t5-setconfig-value': typed(commands.configureValueFile(3, 0n, 1000n, 0n, 1), undefined),
  'an12343-t11-changefilesettings': typed(commands.changeFileSettings(4, 0, 0xeeee), undefined),
  'an12343-t33-readrecords-full': typed(commands.readNewestRecords(1, 0, 16), [parseHex('11223344556677889900112233445566')]),
  'an12343-t35-getvalue-full': typed(commands.getValue(3), 0n),
  'an12343-t36-credit-full': typed(commands.credit(3, 0x99n), undefined),
  'an12343-t37-debit-full': typed(commands.debit(3, 0x71n), undefined),
  'an12343-t38-getkeyversion': typed(commands.getKeyVersion(0), 0),
  'an12343-t39-changekey-other': typed(commands.changeOtherKey(1, new Uint8Array(16), parseHex('01234567890123456789012345678901'), 0), undefined),
  'an12196-changekey-same': typed(commands.changeSessionKey(0, parseHex('5004BF991F408672B1EF00F08F9E8647'), 1), undefined),
};

function openingOf(vector: Vector): Vector | undefined {
  const sessionOf = (one: Vector): string => one.text('TI') + one.text('SesAuthENCKey');
  return VECTORS.find((one) => one.kind === 'auth-ev2-first' && sessionOf(one) === sessionOf(vector));
}

describe('whole exchanges', () => {
  const messaging = VECTORS.filter(({ kind }) => kind === 'secure-messaging');

  it('every exchange has a typed command, or is named as one that we never send', () => {
    expect([...Object.keys(TYPED), ...UNUSED].sort()).toEqual(messaging.map(({ id }) => id).sort());
  });

  it.each(Object.keys(TYPED))('the typed command of %s has the published header, data and protection', (id) => {
    const vector = vectorOf(id);
    const { command } = TYPED[id]!;
    expect(command.instruction).toBe(Number.parseInt(vector.text('cmd'), 16));
    expect([encodeHex(command.header), encodeHex(command.data)]).toEqual([vector.text('cmdHeader'), vector.text('cmdData')]);
    expect({ command: command.protection, answer: command.answer }).toEqual(protectionOf(vector));
  });

  it.each(Object.keys(TYPED))('%s in its place of a session, its answer opened and read', (id) => {
    const vector = vectorOf(id);
    const opening = openingOf(vector);
    const session = opening === undefined ? new CardSession(sessionKeys(vector)) : authenticate(opening);
    // Commands that the transcript does not show only count here.
    for (let counter = 0; counter < vector.number('CmdCtr'); counter++) session.seal(commands.getValue(3));
    const { command, value } = TYPED[id]!;
    const sealed = session.seal(command);
    expect(encodeHex(sealed.command.apdu)).toBe(vector.text('capdu'));
    expect(sealed.open(vector.bytes('rapdu'))).toEqual(value);
  });

  it('three of them begin with their published authentication', () => {
    expect(Object.keys(TYPED).filter((id) => openingOf(vectorOf(id)) !== undefined)).toEqual(['an12343-t7-getcarduid', 'an12343-t38-getkeyversion', 'an12343-t39-changekey-other']);
  });

  it('values are signed, and a TMC is read with its TMV', () => {
    expect(commands.getValue(3).parse(parseHex('FFFFFFFF'))).toBe(-1n);
    expect(commands.commitTransaction().parse(parseHex('080000005283DF5C6876E53D'))).toEqual({ transactionCounter: 8, transactionMac: parseHex('5283DF5C6876E53D') });
  });
});

it('the generated session has the keys that its nonces, its counter and its card give; session.test.ts replays it', () => {
  const { RndB, TI, key, UID, TMC, AppTransactionMACKey, SesAuthENCKey, SesAuthMACKey, SesTMMACKey, SesTMENCKey, RndA } = GENERATED;
  const derived = deriveSessionVectors(parseHex(RndA), parseHex(RndB));
  const cmac = new AesCmac(parseHex(key));
  expect([derived.encryption, derived.mac].map((vector) => encodeHex(cmac.compute(vector)))).toEqual([SesAuthENCKey, SesAuthMACKey]);
  const input = { transactionMacKey: parseHex(AppTransactionMACKey), uid: parseHex(UID), transactionCounter: TMC };
  expect([deriveTransactionMacSessionKey(input), deriveTransactionEncryptionSessionKey(input)].map(encodeHex)).toEqual([SesTMMACKey, SesTMENCKey]);
  expect(encodeHex(decryptCbc(parseHex(key), responseData(parseHex(GENERATED.steps[1]!.rapdu)))).slice(0, 8)).toBe(TI);
});

it('nothing of any entry is left unread', () => {
  expect(VECTORS.flatMap((vector) => vector.unread())).toEqual([]);
  expect(VECTORS.length).toBeGreaterThan(0);
});
