import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { isAllowedCaller, readHostConfig, simReaderPort, type HostConfig } from './config.ts';

const ORIGIN = 'chrome-extension://abcdefghijklmnopabcdefghijklmnop/';
const config: HostConfig = { allowedOrigins: [ORIGIN], allowedExtensions: ['wallet@kessai.dev'], reader: { kind: 'pcsc' } };
const folder = mkdtempSync(join(tmpdir(), 'kessai-config-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the caller', () => {
  test.each([
    [true, 'our origin, as Chromium passes it', [ORIGIN]],
    [true, 'our origin, as Chromium on Windows passes it', [ORIGIN, '--parent-window=123']],
    [true, 'our add-on, as Firefox passes it', ['/home/a/.mozilla/native-messaging-hosts/dev.kessai.host.json', 'wallet@kessai.dev']],
    [false, 'another extension', ['chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba/']],
    [false, 'another extension that adds our add-on id', ['chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba/', 'wallet@kessai.dev']],
    [false, 'our origin without its last slash', [ORIGIN.slice(0, -1)]],
    [false, 'another add-on', ['/x/dev.kessai.host.json', 'other@example.org']],
    [false, 'nobody', []],
  ])('%s: %s', (allowed, _, given) => {
    expect(isAllowedCaller(given, config)).toBe(allowed);
  });
});

describe('the configuration file', () => {
  test.each([
    ['an unknown member', { ...config, debug: true }],
    ['a wildcard origin', { ...config, allowedOrigins: ['chrome-extension://*/'] }],
    ['an unknown reader', { ...config, reader: { kind: 'network' } }],
    ['a simulated reader without a port', { ...config, reader: { kind: 'sim' } }],
  ])('with %s is refused', (_, value) => {
    const path = join(folder, 'config.json');
    writeFileSync(path, JSON.stringify(value));
    expect(() => readHostConfig(path)).toThrow();
  });

  test('is read as written', () => {
    const path = join(folder, 'good.json');
    writeFileSync(path, JSON.stringify(config));
    expect(readHostConfig(path)).toEqual(config);
  });

  test.each([
    [undefined, 4000],
    ['5000', 5000],
    ['0', 4000],
    ['70000', 4000],
    ['12x', 4000],
  ])('KESSAI_SIM_READER_PORT %s gives port %s', (given, port) => {
    expect(simReaderPort(4000, { KESSAI_SIM_READER_PORT: given })).toBe(port);
  });
});
