/** The Windows registry through reg.exe: default values of keys, and nothing else. */
import type { Platform } from './platform.ts';

/** The key's default value; undefined where there is none. The value's name is translated in reg.exe's output, its type is not. */
export async function readDefaultValue(platform: Platform, key: string): Promise<string | undefined> {
  const { exitCode, stdout } = await platform.run('reg.exe', ['query', key, '/ve']);
  return exitCode === 0 ? /\bREG_SZ\s+(.+?)\r?$/m.exec(stdout)?.[1] : undefined;
}

/** Throws where Windows refuses. */
export async function writeDefaultValue(platform: Platform, key: string, value: string): Promise<void> {
  const { exitCode } = await platform.run('reg.exe', ['add', key, '/ve', '/t', 'REG_SZ', '/d', value, '/f']);
  if (exitCode !== 0) throw new Error(`reg.exe could not write ${key}`);
}

export async function removeKey(platform: Platform, key: string): Promise<boolean> {
  return (await platform.run('reg.exe', ['delete', key, '/f'])).exitCode === 0;
}
