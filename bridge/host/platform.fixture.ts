/** A computer of any system in a folder of this one: its paths lie below that folder, its programs answer what the test says. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { HostSystem, Platform } from './platform.ts';

const HOMES: Readonly<Record<HostSystem, string>> = { linux: '/home/a', macos: '/Users/a', windows: 'C:\\Users\\a' };

export interface FakePlatform extends Platform {
  /** Every program that was run, as one line. */
  readonly runs: string[];
  /** The registry's default values. */
  readonly registry: Map<string, string>;
  /** Writes a file of that computer; its folders are made. */
  put(path: string, text: string | Uint8Array): void;
  /** All files, as paths of this machine below the folder. */
  files(): string[];
}

export function fakePlatform(system: HostSystem, folder: string, given: Partial<Omit<Platform, 'run'>> & { outputs?: Readonly<Record<string, string>> } = {}): FakePlatform {
  const runs: string[] = [];
  const registry = new Map<string, string>();
  const locate = (path: string) => join(folder, path.replace(/^([A-Z]):/, '$1').replaceAll('\\', '/'));
  const { outputs = {}, ...others } = given;
  return {
    system,
    home: HOMES[system],
    environment: system === 'windows' ? { LOCALAPPDATA: 'C:\\Users\\a\\AppData\\Local', ProgramFiles: 'C:\\Program Files' } : { PATH: '/usr/local/bin:/usr/bin' },
    nodePath: system === 'windows' ? 'C:\\Program Files\\nodejs\\node.exe' : '/usr/bin/node',
    nodeVersion: '20.19.0',
    userId: system === 'windows' ? undefined : 1000,
    locate,
    run(program, parameters) {
      const line = [program, ...parameters].join(' ');
      runs.push(line);
      const output = outputs[line];
      return Promise.resolve(output === undefined ? runRegistry(registry, program, parameters) : { exitCode: 0, stdout: output });
    },
    runs,
    registry,
    put(path, text) {
      mkdirSync(dirname(locate(path)), { recursive: true });
      writeFileSync(locate(path), text);
    },
    files: () => readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length)).sort(),
    ...others,
  };
}

/** reg.exe on default values, with a heading as a German Windows prints it. */
function runRegistry(registry: Map<string, string>, program: string, [verb = '', key = '', ...rest]: readonly string[]): { exitCode: number | undefined; stdout: string } {
  if (program !== 'reg.exe') return { exitCode: undefined, stdout: '' };
  const value = registry.get(key);
  if (verb === 'query' && rest[0] === '/ve' && value !== undefined) return { exitCode: 0, stdout: `\r\n${key}\r\n    (Standard)    REG_SZ    ${value}\r\n\r\n` };
  if (verb === 'add') {
    registry.set(key, rest[rest.indexOf('/d') + 1] ?? '');
    return { exitCode: 0, stdout: '' };
  }
  if (verb === 'delete' && registry.delete(key)) return { exitCode: 0, stdout: '' };
  return { exitCode: 1, stdout: '' };
}
