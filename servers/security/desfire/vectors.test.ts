/** Every published vector, from the host's side. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { responseData, wrapNative } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { deriveSessionVectors, parseChallenge, PendingAuthentication, requestChallenge, type KeyNumber } from './authentication.ts';
import { AesCmac } from './cmac.ts';
import * as commands from './commands.ts';
import { diversifyKey } from './diversification.ts';
import { initialVector, openAnswer, sealCommand, type NativeCommand, type SessionKeys } from './secure-messaging.ts';
import { selectApplication } from './select.ts';
import { deriveTransactionEncryptionSessionKey, deriveTransactionMacSessionKey, encryptPreviousReaderId } from './transaction-mac.ts';

type Vector = Readonly<Record<string, string> & { CmdCtr: number; keyNo: KeyNumber; committedTMC: number }>;
const { vectors } = JSON.parse(readFileSync(new URL('../vectors/desfire.json', import.meta.url), 'utf8')) as { vectors: Vector[] };

const bytes = (vector: Vector, field: string): Bytes => parseHex(vector[field] ?? expect.fail(`${vector['id'] ?? ''} has no ${field}`));
const sessionKeys = (vector: Vector): SessionKeys => ({
  encryptionKey: bytes(vector, 'SesAuthENCKey'),
  mac: new AesCmac(bytes(vector, 'SesAuthMACKey')),
  transactionIdentifier: bytes(vector, 'TI'),
});

function checkSessionKeys(vector: Vector): void {
  const derived = deriveSessionVectors(bytes(vector, 'RndA'), bytes(vector, 'RndB'));
  const cmac = new AesCmac(bytes(vector, 'key'));
  expect(encodeHex(cmac.compute(derived.encryption))).toBe(vector['SesAuthENCKey']);
  expect(encodeHex(cmac.compute(derived.mac))).toBe(vector['SesAuthMACKey']);
}

function checkAuthentication(vector: Vector): void {
  expect(encodeHex(requestChallenge(vector.keyNo).apdu)).toBe(vector['capdu1']);
  const challenge = parseChallenge(bytes(vector, 'rapdu1'));
  const pending = new PendingAuthentication({ authenticationKey: bytes(vector, 'key'), challenge, hostRandom: bytes(vector, 'RndA') });
  expect(encodeHex(pending.command.apdu)).toBe(vector['capdu2']);
  expect(pending.verify(bytes(vector, 'rapdu2')).isAlive).toBe(true);
  checkSessionKeys(vector);
}

function checkMessaging(vector: Vector): void {
  const command: NativeCommand = {
    instruction: Number.parseInt(vector['cmd'] ?? '', 16),
    header: bytes(vector, 'cmdHeader'),
    data: bytes(vector, 'cmdData'),
    protection: vector['commMode'] === 'Full' ? 'full' : 'mac',
  };
  expect(encodeHex(sealCommand(sessionKeys(vector), vector.CmdCtr, command).apdu)).toBe(vector['capdu']);
  const protection = vector['rapdu'] === '9100' ? 'none' : vector['respMode'] === 'Full' ? 'full' : 'mac';
  expect(encodeHex(openAnswer(sessionKeys(vector), vector.CmdCtr, protection, bytes(vector, 'rapdu')))).toBe(vector['respData']);
  const response = bytes(vector, 'rapdu');
  for (let bit = 0; bit < (protection === 'none' ? 0 : response.length * 8); bit++) {
    const tampered = response.slice();
    tampered[bit >> 3] = (tampered[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(() => openAnswer(sessionKeys(vector), vector.CmdCtr, protection, tampered)).toThrow();
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

const CHECKS: Readonly<Record<string, (vector: Vector) => void>> = {
  'auth-ev2-first': checkAuthentication,
  'secure-messaging': checkMessaging,
  'session-keys': checkSessionKeys,
  'iv-command': (vector) => {
    const keys = { encryptionKey: bytes(vector, 'SesAuthENCKey'), transactionIdentifier: bytes(vector, 'TI') };
    expect(encodeHex(initialVector(keys, Uint8Array.of(0xa5, 0x5a), vector.CmdCtr))).toBe(vector['iv']);
  },
  'tmac-session-keys': (vector) => {
    const input = { transactionMacKey: bytes(vector, 'AppTransactionMACKey'), uid: bytes(vector, 'UID'), transactionCounter: vector.committedTMC };
    expect(encodeHex(deriveTransactionMacSessionKey(input))).toBe(vector['SesTMMACKey']);
    expect(encodeHex(deriveTransactionEncryptionSessionKey(input))).toBe(vector['SesTMENCKey']);
  },
  tmv: (vector) => {
    expect(encodeHex(new AesCmac(bytes(vector, 'SesTMMACKey')).computeShort(bytes(vector, 'TMI')))).toBe(vector['TMV']);
  },
  enctmri: (vector) => {
    expect(encodeHex(encryptPreviousReaderId(bytes(vector, 'SesTMENCKey'), bytes(vector, 'TMRIPrev')))).toBe(vector['EncTMRI']);
  },
  'an10922-aes128': (vector) => {
    expect(encodeHex(diversifyKey(bytes(vector, 'masterKey'), bytes(vector, 'divInput')))).toBe(vector['divKey']);
  },
  'aes-cmac': (vector) => {
    expect(encodeHex(new AesCmac(bytes(vector, 'key')).compute(bytes(vector, 'msg')))).toBe(vector['mac']);
  },
  plain: (vector) => {
    expect(encodeHex(PLAIN[vector['id'] ?? ''] ?? new Uint8Array())).toBe(vector['capdu']);
  },
};

describe('published vectors', () => {
  it.each(vectors.map((vector) => [vector['id'] ?? '', vector] as const))('%s', (_id, vector) => {
    const check = CHECKS[vector['kind'] ?? ''] ?? expect.fail(`no check for ${vector['kind'] ?? ''}`);
    check(vector);
  });

  it.each([
    ['an12343-t7-getcarduid', commands.getCardUid()],
    ['an12343-t5-setconfig-value', commands.configureValueFile(3, 0n, 1000n, 0n, 1)],
    ['an12343-t11-changefilesettings', commands.changeFileSettings(4, 0, 0xeeee)],
    ['an12343-t35-getvalue-full', commands.getValue(3)],
    ['an12343-t36-credit-full', commands.credit(3, 0x99n)],
    ['an12343-t37-debit-full', commands.debit(3, 0x71n)],
    ['an12343-t33-readrecords-full', commands.readRecords(1, 0, 0, 16)],
    ['an12343-t38-getkeyversion', commands.getKeyVersion(0)],
    ['an12343-t39-changekey-other', commands.changeOtherKey(1, new Uint8Array(16), parseHex('01234567890123456789012345678901'), 0)],
    ['an12196-changekey-same', commands.changeSessionKey(0, parseHex('5004BF991F408672B1EF00F08F9E8647'), 1)],
  ] as const)('the typed command of %s has the published header, data and protection', (id, command) => {
    const vector = vectors.find((candidate) => candidate['id'] === id) ?? expect.fail(id);
    expect(command.instruction).toBe(Number.parseInt(vector['cmd'] ?? '', 16));
    expect(encodeHex(command.header)).toBe(vector['cmdHeader']);
    expect(encodeHex(command.data)).toBe(vector['cmdData']);
    expect(command.protection).toBe(vector['commMode'] === 'Full' ? 'full' : 'mac');
    expect(command.answer).toBe(vector['rapdu'] === '9100' ? 'none' : vector['respMode'] === 'Full' ? 'full' : 'mac');
  });

  it('reads the answers of the typed commands', () => {
    const answer = (id: string): Bytes => responseData(bytes(vectors.find((vector) => vector['id'] === id) ?? expect.fail(id), 'rapdu'));
    expect(encodeHex(commands.getCardUid().parse(parseHex('04DE5F1EACC040')))).toBe('04DE5F1EACC040');
    expect(commands.getValue(3).parse(answer('an12343-t34-getvalue-plain-free'))).toBe(0n);
    expect(commands.getValue(3).parse(parseHex('FFFFFFFF'))).toBe(-1n);
    expect(encodeHex(commands.getFileIds().parse(answer('an12343-getfileids')))).toBe('0F1F03000104');
  });
});
