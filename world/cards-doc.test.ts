/** What docs/cards.md says of files, rights, keys, profiles and commands is what the code has. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { PROFILE_NAMES, PROFILES } from '#card-firmware-sim/profile.ts';
import { encodeHex } from '#protocol/bytes.ts';
import { WALLET, WALLET_KEYS, WALLET_RIGHTS } from '#servers/security/layout.ts';
import productPackage from '../package.json' with { type: 'json' };
import { rowsOf } from './document-tables.fixture.ts';

const text = readFileSync(join(fileURLToPath(new URL('..', import.meta.url)), 'docs/cards.md'), 'utf8');
const hex = (value: number, digits: number): string => `\`${value.toString(16).toUpperCase().padStart(digits, '0')}\``;

describe('the page about cards', () => {
  test('has every profile with what its GetVersion says', () => {
    const rows = rowsOf(text, /^`(light|ev2|ev3)`$/);
    expect(rows.map(([profile]) => profile)).toEqual(PROFILE_NAMES.map((name) => `\`${name}\``));
    for (const name of PROFILE_NAMES) {
      const [, type = 0, , major = 0] = PROFILES[name].hardwareVersion;
      const said = rows.find(([profile]) => profile === `\`${name}\``)?.[3];
      expect(said).toContain(`type ${type.toString(16).padStart(2, '0')}`);
      if (name !== 'light') expect(said).toContain(`version ${major.toString(16)}`);
    }
  });

  test('has the files with their rights, and the name of the application', () => {
    const rows = rowsOf(text, /^`(01|03|0F)`$/).map(([file, , rights]) => [file, rights]);
    expect(rows).toEqual([
      [hex(WALLET.logFile, 2), hex(WALLET_RIGHTS.logFile, 4)],
      [hex(WALLET.valueFile, 2), hex(WALLET_RIGHTS.valueFile, 4)],
      [hex(WALLET.transactionMacFile, 2), hex(WALLET_RIGHTS.transactionMacFile, 4)],
    ]);
    expect(text).toContain(`\`${encodeHex(WALLET.applicationName)}\``);
  });

  test('says what each key is for', () => {
    for (const keyNumber of Object.values(WALLET_KEYS)) expect(rowsOf(text, new RegExp(`^\`${keyNumber}\`$`))).toHaveLength(1);
  });

  test('names no script that is not there', () => {
    const scripts = Object.keys(productPackage.scripts);
    const named = [...text.matchAll(/npm run ([a-z][a-z0-9-]*)/g)].map(([, name = '']) => name);
    expect(named.length).toBeGreaterThan(8);
    expect(named.filter((name) => !scripts.includes(name))).toEqual([]);
  });
});
