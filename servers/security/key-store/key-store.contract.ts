/** What every kind of key store promises; each kind runs it with master keys that the test knows. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { diversifyKey } from '../desfire/diversification.ts';
import type { MasterKeys } from './file-format.ts';
import { CARD_KEY_PURPOSES, diversificationInput, KeyStoreError, MASTER_KEY_PURPOSES, masterKeyPurposeOf, type CardKeyPurpose, type OpenKeyStore } from './key-store.ts';

export interface KeyStoreUnderTest {
  /** A store that holds these master keys, opened. */
  open(masterKeys: MasterKeys): Promise<OpenKeyStore>;
  /** Another program adds a version to the store that was opened. */
  addElsewhere(version: number): Promise<void>;
  remove(): void;
}

export const UID = parseHex('04DE5F1EACC040');
const VERSION_1 = ['2B7E151628AED2A6ABF7158809CF4F3C', '00112233445566778899AABBCCDDEEFF', 'F0E1D2C3B4A5968778695A4B3C2D1E0F', '0123456789ABCDEFFEDCBA9876543210', '8E73B0F7DA0E6452C810F32B809079E5', '603DEB1015CA71BE2B73AEF0857D7781'];

/** The keys of the test; those of any other version are those of version 1 with each byte moved on. */
export function knownMasterKeys(...versions: readonly number[]): MasterKeys {
  const keyOf = (i: number, version: number): Bytes => parseHex(VERSION_1[i] ?? '').map((byte) => (byte + version - 1) & 0xff);
  return new Map(versions.map((version) => [version, new Map(MASTER_KEY_PURPOSES.map((purpose, i) => [purpose, keyOf(i, version)] as const))]));
}

function expectedKey(masterKeys: MasterKeys, uid: Bytes, purpose: CardKeyPurpose, version: number): string {
  const masterKey = masterKeys.get(version)?.get(masterKeyPurposeOf(purpose));
  return encodeHex(diversifyKey(masterKey ?? expect.fail('no such version'), diversificationInput(uid, purpose)));
}

export function keyStoreContract(kind: string, prepare: () => KeyStoreUnderTest): void {
  describe(`keys of cards, out of ${kind}`, () => {
    let prepared: KeyStoreUnderTest;
    const opened: OpenKeyStore[] = [];
    beforeEach(() => {
      prepared = prepare();
    });
    afterEach(async () => {
      for (const store of opened.splice(0)) await store.close();
      prepared.remove();
    });

    async function open(masterKeys: MasterKeys): Promise<OpenKeyStore> {
      const store = await prepared.open(masterKeys);
      opened.push(store);
      return store;
    }

    it('are those that AN10922 makes of the master keys, for every purpose and version', async () => {
      const masterKeys = knownMasterKeys(1, 2);
      const store = await open(masterKeys);
      for (const version of [1, 2]) {
        for (const purpose of CARD_KEY_PURPOSES) expect(encodeHex(await store.deriveCardKey(UID, purpose, version))).toBe(expectedKey(masterKeys, UID, purpose, version));
      }
    });

    it('differ by card, by purpose and by version', async () => {
      const store = await open(knownMasterKeys(1, 2));
      const keys: string[] = [];
      for (const uid of [UID, parseHex('04DE5F1EACC041')]) {
        for (const purpose of CARD_KEY_PURPOSES) for (const version of [1, 2]) keys.push(encodeHex(await store.deriveCardKey(uid, purpose, version)));
      }
      expect(new Set(keys).size).toBe(2 * CARD_KEY_PURPOSES.length * 2);
    });

    it("are zero at the factory, except the transaction MAC's and the card's own, which do not exist as AES keys", async () => {
      const store = await open(knownMasterKeys(1));
      for (const purpose of [0, 1, 2, 3, 4] as const) expect(encodeHex(await store.deriveCardKey(UID, purpose, 0))).toBe('00'.repeat(16));
      await expect(store.deriveCardKey(UID, 'transaction-mac', 0)).rejects.toThrow(KeyStoreError);
      await expect(store.deriveCardKey(UID, 'picc', 0)).rejects.toThrow(KeyStoreError);
    });

    it('do not exist for a version that the store does not hold', async () => {
      const store = await open(knownMasterKeys(1, 3));
      for (const version of [2, 4, 255, 256, -1, 1.5, Number.NaN]) {
        const refused = store.deriveCardKey(UID, 3, version);
        await expect(refused).rejects.toThrow(KeyStoreError);
        await expect(refused).rejects.toThrow(`no master key of version ${version}`);
      }
    });

    it('are of the newest version that there is', async () => {
      const store = await open(knownMasterKeys(2, 10, 9));
      expect(await store.versions()).toEqual([2, 9, 10]);
      expect(await store.currentVersion()).toBe(10);
    });

    it('are derived for many at once, each its own', async () => {
      const masterKeys = knownMasterKeys(1, 2);
      const store = await open(masterKeys);
      const asked = Array.from({ length: 210 }, (_, i) => ({ uid: Uint8Array.of(4, 1, 2, 3, 4, 5, i), purpose: CARD_KEY_PURPOSES[i % CARD_KEY_PURPOSES.length] ?? 0, version: 1 + (i % 2) }));
      const keys = await Promise.all(asked.map(({ uid, purpose, version }) => store.deriveCardKey(uid, purpose, version)));
      expect(keys.map(encodeHex)).toEqual(asked.map(({ uid, purpose, version }) => expectedKey(masterKeys, uid, purpose, version)));
    });

    it('of a version that was added meanwhile are found without opening the store again', async () => {
      const store = await open(knownMasterKeys(1));
      expect(await store.currentVersion()).toBe(1);
      await prepared.addElsewhere(2);
      await store.deriveCardKey(UID, 0, 2);
      expect(await store.currentVersion()).toBe(2);
    });

    it('need a UID of 7 bytes', async () => {
      const store = await open(knownMasterKeys(1));
      await expect(store.deriveCardKey(UID.slice(1), 1, 1)).rejects.toThrow(RangeError);
    });

    it('are not given once the store is closed', async () => {
      const store = await open(knownMasterKeys(1));
      await store.deriveCardKey(UID, 1, 1);
      await store.close();
      await expect(store.deriveCardKey(UID, 1, 1)).rejects.toThrow(KeyStoreError);
    });
  });
}
