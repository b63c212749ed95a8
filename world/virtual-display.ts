/** A screen and a keyboard without hardware: a private X server for programs that must be seen, gone with the process that started it. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';

const SCREEN = '1280x1024x24';
/** Number of the descriptor on which the server tells its display. */
const DISPLAY_DESCRIPTOR = 3;
const START_LIMIT_MS = 15_000;
const STOP_LIMIT_MS = 3_000;
const TOOL_LIMIT_MS = 10_000;
/** A hand's: programs that are typed at faster may still be moving the focus. */
const KEY_DELAY_MS = 40;
const PACKAGES = 'The virtual display needs the packages xvfb and xdotool: run `npm run prepare-machine`.';

export interface VirtualDisplay {
  /** For programs that are to be seen on it; nobody else may use it. */
  readonly environment: { readonly DISPLAY: string; readonly XAUTHORITY: string };
  /** Presses these keys one after the other, by their X names (`Tab`, `Return`, `Escape`), in the window that has the focus. */
  pressKeys(keys: readonly string[]): Promise<void>;
  /** After the programs on it; safe to call twice. */
  stop(): Promise<void>;
}

/** The key to the display lies below `folder`. Needs the packages xvfb and xdotool; throws an Error that says so. */
export async function startVirtualDisplay({ folder }: { readonly folder: string }): Promise<VirtualDisplay> {
  await mkdir(folder, { recursive: true });
  const keyFile = join(resolve(folder), 'Xauthority');
  await writeFile(keyFile, encodeAuthority(randomBytes(16)), { mode: 0o600 });
  // If this process is killed, the kernel ends the server. It picks a display that is free.
  const server = spawn('setpriv', ['--pdeathsig', 'TERM', '--', 'Xvfb', '-displayfd', String(DISPLAY_DESCRIPTOR), '-screen', '0', SCREEN, '-auth', keyFile, '-nolisten', 'tcp', '-noreset'], {
    stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
  });
  const ended = new Promise<void>((done) => {
    server.once('error', () => done());
    server.once('exit', () => done());
  });
  const stop = async (): Promise<void> => {
    server.kill('SIGTERM');
    const killer = setTimeout(() => server.kill('SIGKILL'), STOP_LIMIT_MS);
    await ended;
    clearTimeout(killer);
  };
  try {
    const environment = { DISPLAY: `:${await displayOf(server)}`, XAUTHORITY: keyFile };
    // Missing now rather than at the first key.
    await xdotool(['version'], environment);
    return { environment, pressKeys: (keys) => xdotool(['key', '--delay', String(KEY_DELAY_MS), ...keys], environment), stop };
  } catch (reason) {
    await stop();
    throw reason;
  }
}

/** One entry for every display (Xauth, "FamilyWild"): family, address, number, name, data, each but the first with its length. */
function encodeAuthority(cookie: Buffer): Buffer {
  const counted = (data: Buffer): Buffer => Buffer.concat([Buffer.from([data.length >> 8, data.length & 0xff]), data]);
  const nothing = Buffer.alloc(0);
  return Buffer.concat([Buffer.from([0xff, 0xff]), counted(nothing), counted(nothing), counted(Buffer.from('MIT-MAGIC-COOKIE-1', 'ascii')), counted(cookie)]);
}

/** The server writes it when it serves. */
function displayOf(server: ChildProcess): Promise<string> {
  let complaint = '';
  server.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2_000);
  });
  let told = '';
  return new Promise((done, fail) => {
    const failed = (what: string, cause?: unknown) => fail(new Error(`The virtual display did not start: ${what} ${complaint}${PACKAGES}`, { cause }));
    const timer = setTimeout(() => failed(`nothing after ${START_LIMIT_MS} ms.`), START_LIMIT_MS);
    server.once('error', (cause) => failed('setpriv (package util-linux) cannot be run.', cause));
    server.once('exit', (code) => {
      clearTimeout(timer);
      failed(`it ended with ${String(code)}.`);
    });
    (server.stdio[DISPLAY_DESCRIPTOR] as Readable).setEncoding('ascii').on('data', (text: string) => {
      told += text;
      if (!told.endsWith('\n')) return;
      clearTimeout(timer);
      done(told.trim());
    });
  });
}

async function xdotool(given: readonly string[], environment: Readonly<Record<string, string>>): Promise<void> {
  try {
    await promisify(execFile)('xdotool', given, { env: { ...process.env, ...environment }, timeout: TOOL_LIMIT_MS });
  } catch (cause) {
    throw new Error(`xdotool ${given.join(' ')} failed. ${PACKAGES}`, { cause });
  }
}
