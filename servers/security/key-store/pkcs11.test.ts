import { readdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import koffi from 'koffi';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { deriveSubkeys } from '../desfire/cmac.ts';
import { diversificationBlocks, keyOfDiversification } from '../desfire/diversification.ts';
import { knownMasterKeys, UID } from './key-store.contract.ts';
import { addPkcs11KeyVersion, masterKeyLabel, openPkcs11KeyStore, type Pkcs11KeyStoreOptions } from './pkcs11.ts';
import { loadPkcs11Library, Pkcs11Error, type Pkcs11Library } from './pkcs11-library.ts';
import { CKA, CKF, type AttributeName } from './pkcs11-standard.ts';
import { TokenSession } from './pkcs11-token.ts';
import { CARD_KEY_PURPOSES, KeyStoreError, MASTER_KEY_PURPOSES, type OpenKeyStore } from './key-store.ts';
import { createSoftToken, TOKEN_LABEL, TOKEN_PIN, type SoftToken } from './soft-token.fixture.ts';

let token: SoftToken;
let library: Pkcs11Library;
const opened: OpenKeyStore[] = [];
const options = (changed: Partial<Pkcs11KeyStoreOptions> = {}): Pkcs11KeyStoreOptions => ({ module: token.module, tokenLabel: TOKEN_LABEL, pin: TOKEN_PIN, ...changed });

beforeEach(() => {
  token = createSoftToken();
  library = loadPkcs11Library(token.module);
});
afterEach(async () => {
  for (const store of opened.splice(0)) await store.close();
  token.remove();
});

async function open(changed: Partial<Pkcs11KeyStoreOptions> = {}): Promise<OpenKeyStore> {
  const store = await openPkcs11KeyStore(options(changed));
  opened.push(store);
  return store;
}

async function allKeys(store: OpenKeyStore, version = 1): Promise<string[]> {
  return Promise.all(CARD_KEY_PURPOSES.map(async (purpose) => encodeHex(await store.deriveCardKey(UID, purpose, version))));
}

/** The library with some functions replaced, and its calls counted. */
function watched(changes: Partial<Pkcs11Library> = {}): { library: Pkcs11Library; calls: Record<keyof Pkcs11Library, number> } {
  const calls = Object.fromEntries(Object.keys(library).map((name) => [name, 0])) as Record<keyof Pkcs11Library, number>;
  const functions = Object.entries({ ...library, ...changes }) as [keyof Pkcs11Library, (...given: unknown[]) => unknown][];
  const counting = functions.map(([name, act]) => [
    name,
    (...given: unknown[]) => {
      calls[name]++;
      return act(...given);
    },
  ] as const);
  return { library: Object.fromEntries(counting) as unknown as Pkcs11Library, calls };
}

/** What another part of this process, or a token that is taken away, does to every session. */
async function loseSessions(): Promise<void> {
  const closeAll = koffi.load(token.module).func('C_CloseAllSessions', 'unsigned long', ['unsigned long']);
  for (const slot of await library.listSlots()) closeAll(slot);
}

describe('master keys of a token', () => {
  it('are made by the token, one of each purpose a version, the older versions untouched', async () => {
    expect(await addPkcs11KeyVersion(options())).toBe(1);
    const first = await allKeys(await open());
    expect(new Set(first).size).toBe(CARD_KEY_PURPOSES.length);
    expect(await addPkcs11KeyVersion(options())).toBe(2);
    const store = await open();
    expect(await store.versions()).toEqual([1, 2]);
    expect(await allKeys(store, 1)).toEqual(first);
    expect(await allKeys(store, 2)).not.toEqual(first);
  });

  it('never leave it, and may only encrypt', async () => {
    await addPkcs11KeyVersion(options());
    const names = Object.keys(CKA) as AttributeName[];
    const readValue = koffi.load(token.module).func('C_GetAttributeValue', 'unsigned long', ['unsigned long', 'unsigned long', 'void *', 'unsigned long']);
    const session = new TokenSession({ library, tokenLabel: TOKEN_LABEL, pin: TOKEN_PIN });
    const seen = await session.run(async (turn) => {
      const found = await library.findObjects(turn.session, { TOKEN: true }, 100);
      const CKA_VALUE = BigUint64Array.of(0x11n, 0n, 0n);
      for (const handle of found) expect(readValue(turn.session, handle, CKA_VALUE, 1)).toBe(0x11); // CKR_ATTRIBUTE_SENSITIVE
      return Promise.all(found.map((handle) => library.readAttributes(turn.session, handle, names)));
    });
    await session.close();
    expect(seen.map(({ LABEL }) => new TextDecoder().decode(LABEL)).sort()).toEqual(MASTER_KEY_PURPOSES.map((purpose) => masterKeyLabel(purpose, 1)).sort());
    for (const attributes of seen) {
      const truths = Object.fromEntries(Object.entries(attributes).flatMap(([name, value]) => (value.length === 1 ? [[name, value[0] === 1]] : [])));
      expect(truths).toEqual({ TOKEN: true, PRIVATE: true, SENSITIVE: true, EXTRACTABLE: false, MODIFIABLE: false, ENCRYPT: true, DECRYPT: false, WRAP: false, UNWRAP: false, SIGN: false, VERIFY: false, DERIVE: false });
    }
  });

  it("diversify as AN10922's own example does (2.2.1)", async () => {
    await token.importKeys([['vector', parseHex('00112233445566778899AABBCCDDEEFF')]], '01');
    const session = new TokenSession({ library, tokenLabel: TOKEN_LABEL, pin: TOKEN_PIN });
    const key = await session.run(async (turn) => {
      const [handle = 0n] = await library.findObjects(turn.session, { LABEL: 'vector' }, 1);
      const subkeys = deriveSubkeys(await library.encryptCbc(turn.session, handle, new Uint8Array(16)));
      return keyOfDiversification(await library.encryptCbc(turn.session, handle, diversificationBlocks(parseHex('04782E21801D803042F54E585020416275'), subkeys)));
    });
    await session.close();
    expect(encodeHex(key)).toBe('A8DD63A3B89D54B37CA802473FDA9175');
  });

  it('are not made twice where a call fails: what was made for nothing is taken away', async () => {
    let made = 0;
    const full = watched({ generateAesKey: (...given) => (++made > 3 ? Promise.reject(new Pkcs11Error('C_GenerateKey', 0x31)) : library.generateAesKey(...given)) });
    await expect(addPkcs11KeyVersion(options({ module: full.library }))).rejects.toThrow('C_GenerateKey: CKR_DEVICE_MEMORY');
    expect(full.calls).toMatchObject({ generateAesKey: 4, destroyObject: 3 });
    expect(await addPkcs11KeyVersion(options())).toBe(1);
  });

  it('are not made again on another session when theirs is lost', async () => {
    const lost = watched({ generateAesKey: () => Promise.reject(new Pkcs11Error('C_GenerateKey', 0xb3)) });
    await expect(addPkcs11KeyVersion(options({ module: lost.library }))).rejects.toThrow('CKR_SESSION_HANDLE_INVALID');
    expect(lost.calls.generateAesKey).toBe(1);
  });

  it('end with version 255', async () => {
    await token.importVersion(255, knownMasterKeys(255).get(255) ?? new Map());
    await expect(addPkcs11KeyVersion(options())).rejects.toThrow('all key versions are used');
  });
});

describe('a version in the token that is not as it must be', () => {
  const version2 = [...(knownMasterKeys(2).get(2) ?? [])].map(([purpose, key]) => [masterKeyLabel(purpose, 2), key] as const);

  it.each([
    ['lacks a key', () => token.importKeys(version2.slice(1), 'a'), 'incomplete'],
    ['was put together from two', async () => { await token.importKeys(version2.slice(1), 'a'); await token.importKeys(version2.slice(0, 1), 'b'); }, 'incomplete'],
    ['is there twice', async () => { await token.importKeys(version2, 'a'); await token.importKeys(version2, 'b'); }, 'more than once (CKA_ID 6'],
    ['has a key twice', async () => { await token.importKeys(version2, 'a'); await token.importKeys(version2.slice(2, 3), 'a'); }, 'more than once'],
    ['may leave the token', () => token.importKeys(version2, 'a', { EXTRACTABLE: true }), 'not extractable'],
    ['can be read', () => token.importKeys(version2, 'a', { SENSITIVE: false }), 'must be sensitive'],
    ['may not encrypt', () => token.importKeys(version2, 'a', { ENCRYPT: false }), 'AES-128 key that may encrypt'],
    ['has long keys', () => token.importKeys(version2.map(([label, key]) => [label, new Uint8Array([...key, ...key])] as const), 'a'), 'AES-128 key'],
  ])('is not used when it %s; the others are, and the operator is told once', async (_name, makeVersion2, problem) => {
    await token.importVersion(1, knownMasterKeys(1).get(1) ?? new Map());
    await makeVersion2();
    const problems: string[] = [];
    const store = await open({ onProblem: ({ message }) => problems.push(message) });
    expect(await store.currentVersion()).toBe(1);
    await allKeys(store, 1);
    await expect(store.deriveCardKey(UID, 0, 2)).rejects.toThrow(problem);
    expect(problems).toEqual([expect.stringContaining(problem)]);
    // Its number is never given to other keys.
    expect(await addPkcs11KeyVersion(options())).toBe(3);
    expect(await allKeys(store, 3)).not.toEqual(await allKeys(store, 1));
  });

  it('is no version of ours when its name is another', async () => {
    await token.importKeys([masterKeyLabel(0, 256), masterKeyLabel(0, 0), 'kessai master key 5 version 1', 'kessai master key 0 version 01', `x${masterKeyLabel(0, 1)}`].map((label) => [label, UID.slice(0, 0)] as const).map(([label]) => [label, new Uint8Array(16)] as const), 'a');
    const store = await open();
    expect(await store.versions()).toEqual([]);
    await expect(store.currentVersion()).rejects.toThrow('add a version');
  });
});

describe('a new version', () => {
  it('is current at once where it is asked for, and else as soon as the listing is ten seconds old', async () => {
    await addPkcs11KeyVersion(options());
    let now = 0;
    const counting = watched();
    const store = await open({ module: counting.library, now: () => now });
    // To the process the watched library is another one than the token's: this keeps the latter from being ended under it.
    await open();
    await addPkcs11KeyVersion(options());
    now = 9_999;
    expect(await store.currentVersion()).toBe(1);
    expect(counting.calls.findObjects).toBe(1);
    now = 10_000;
    expect(await store.currentVersion()).toBe(2);
    expect(counting.calls.findObjects).toBe(2);
    // Subkeys once, then one encryption a card key.
    await allKeys(store, 2);
    await allKeys(store, 2);
    expect(counting.calls.encryptCbc).toBe(2 * CARD_KEY_PURPOSES.length + MASTER_KEY_PURPOSES.length);
  });
});

describe('a session with the token', () => {
  beforeEach(async () => {
    await addPkcs11KeyVersion(options());
  });

  it('is made anew when it is lost, with one more login', async () => {
    const counting = watched();
    const store = await open({ module: counting.library });
    const before = await allKeys(store);
    expect(counting.calls.logIn).toBe(1);
    await loseSessions();
    expect(await allKeys(store)).toEqual(before);
    expect(counting.calls).toMatchObject({ logIn: 2, openSession: 2 });
  });

  it('does one thing after the other', async () => {
    let underWay = 0;
    const counting = watched({
      encryptCbc: async (...given) => {
        expect(++underWay).toBe(1);
        return library.encryptCbc(...given).finally(() => underWay--);
      },
    });
    const store = await open({ module: counting.library });
    const keys = await Promise.all(Array.from({ length: 10 }, () => allKeys(store)));
    expect(new Set(keys.map(String)).size).toBe(1);
    expect(counting.calls.logIn).toBe(1);
  });

  it('is made anew when another part of the process has ended the library', async () => {
    const store = await open();
    const before = await allKeys(store);
    await library.finalize();
    expect(await allKeys(store)).toEqual(before);
  });

  it('is made anew once a call, not for ever', async () => {
    const failing = watched({ encryptCbc: () => Promise.reject(new Pkcs11Error('C_EncryptInit', 0xb3)) });
    const store = await open({ module: failing.library });
    await expect(store.deriveCardKey(UID, 1, 1)).rejects.toThrow(`the token ${TOKEN_LABEL} failed: C_EncryptInit: CKR_SESSION_HANDLE_INVALID`);
    expect(failing.calls).toMatchObject({ encryptCbc: 2, logIn: 2, closeSession: 1 });
  });

  it('is not made anew for what a new one would not mend', async () => {
    const failing = watched({ encryptCbc: () => Promise.reject(new Pkcs11Error('C_Encrypt', 0x70)) });
    const store = await open({ module: failing.library });
    await expect(store.deriveCardKey(UID, 1, 1)).rejects.toThrow('CKR_MECHANISM_INVALID');
    expect(failing.calls).toMatchObject({ encryptCbc: 1, logIn: 1 });
  });

  it('comes back with a token that was away', async () => {
    const store = await open();
    const before = await allKeys(store);
    const [name = ''] = readdirSync(token.folder);
    const away = join(token.folder, '..', name);
    renameSync(join(token.folder, name), away);
    await library.finalize();
    await expect(store.deriveCardKey(UID, 1, 1)).rejects.toThrow(`there is no token labelled ${TOKEN_LABEL}`);
    renameSync(away, join(token.folder, name));
    await library.finalize();
    expect(await allKeys(store)).toEqual(before);
  });

  it('is one among several: the library ends with the last of them', async () => {
    const counting = watched();
    const [one, other] = [await open({ module: counting.library }), await open({ module: counting.library })];
    await one.close();
    expect(counting.calls.finalize).toBe(0);
    await other.deriveCardKey(UID, 1, 1);
    await other.close();
    await other.close();
    expect(counting.calls.finalize).toBe(1);
  });

  it('tells who waits too long, and does not begin what nobody waits for', async () => {
    let answer: () => void = () => undefined;
    const mute = watched({ encryptCbc: () => new Promise((resolve) => { answer = () => resolve(new Uint8Array(16)); }) });
    const session = new TokenSession({ library: mute.library, tokenLabel: TOKEN_LABEL, pin: TOKEN_PIN, limitMs: 30 });
    let begun = 0;
    const asked = [0, 1].map(() => session.run((turn) => { begun++; return turn.library.encryptCbc(turn.session, 0n, new Uint8Array(16)); }));
    for (const result of await Promise.allSettled(asked)) expect(result).toMatchObject({ reason: expect.objectContaining({ message: `the token ${TOKEN_LABEL} did not answer within 0.03 s` }) as Error });
    answer();
    await session.run(() => Promise.resolve());
    await session.close();
    expect(begun).toBe(1);
  });
});

describe('a token that cannot be used', () => {
  it('is told by a wrong PIN, which is never tried twice', async () => {
    const counting = watched();
    const pin = 'another PIN 0815';
    const session = new TokenSession({ library: counting.library, tokenLabel: TOKEN_LABEL, pin });
    const use = () => session.run(() => Promise.resolve());
    const refused = await use().then(() => undefined, (error: unknown) => error);
    expect(refused).toBeInstanceOf(KeyStoreError);
    expect(String(refused)).toContain('refuses the PIN (C_Login: CKR_PIN_INCORRECT)');
    expect(inspect(refused, { depth: 9 })).not.toContain(pin);
    await expect(use()).rejects.toThrow('refuses the PIN');
    expect(counting.calls.logIn).toBe(1);
    await session.close();
    await expect(open({ pin })).rejects.toThrow('refuses the PIN');
  });

  it.each([
    ['allows one last try', CKF.USER_PIN_FINAL_TRY, 'one last try'],
    ['is locked', CKF.USER_PIN_LOCKED, 'is locked'],
  ])('is left alone when its PIN %s', async (_name, flags, message) => {
    const counting = watched({ readToken: () => Promise.resolve({ label: TOKEN_LABEL, flags }) , listSlots: async () => (await library.listSlots()).slice(0, 1) });
    await expect(open({ module: counting.library })).rejects.toThrow(message);
    expect(counting.calls.logIn).toBe(0);
  });

  it('is one that is not there, or there twice', async () => {
    await expect(open({ tokenLabel: 'kessai' })).rejects.toThrow('there is no token labelled kessai');
    token.addToken(TOKEN_LABEL);
    await expect(open()).rejects.toThrow('more than one token');
  });

  it('is one without a library', async () => {
    await expect(open({ module: '/nowhere/lib.so' })).rejects.toThrow('the PKCS#11 library /nowhere/lib.so cannot be loaded');
    const text = join(token.folder, 'text.so');
    writeFileSync(text, 'no library');
    await expect(open({ module: text })).rejects.toThrow(KeyStoreError);
  });
});
