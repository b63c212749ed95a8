/** Brings a Debian machine to what demo and tests need: says what is missing, installs it as root, or names the one command that does. */
import { execFile, spawn } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { Command } from 'commander';
import { runCommand } from './run-command.ts';

/** What each purpose really needs; Node and npm packages come with `npm ci`. */
export const PACKAGES = {
  /** Chromium with the Japanese interface and a font for it; certutil and pk12util for the client certificate; openssl for PKCS#12. */
  browser: ['chromium', 'chromium-l10n', 'fonts-ipafont-gothic', 'libnss3-tools', 'openssl'],
  /** A private PC/SC service with virtual readers: unshare and setpriv, ip. */
  pcsc: ['pcscd', 'libpcsclite1', 'vsmartcard-vpcd', 'util-linux', 'iproute2'],
  /** Emulated USB readers in the browser: a C compiler for the library that stands for the kernel; unshare and mount. */
  usb: ['gcc', 'libc6-dev', 'util-linux', 'mount'],
  /** The browser's own dialogs, which only one that is seen shows: a screen and a keyboard; setpriv. */
  display: ['xvfb', 'xdotool', 'util-linux'],
  /** A token in software, for the key store's tests. */
  token: ['softhsm2'],
  /** A real kernel for emulated USB readers, in a guest: its machine, its first program, modprobe and depmod, USB/IP's tool, udev. The kernel itself is only unpacked. */
  kernel: ['qemu-system-x86', 'busybox-static', 'kmod', 'usbip', 'udev'],
} as const satisfies Record<string, readonly string[]>;

export type Need = keyof typeof PACKAGES;
/** Of the demo and the tests: all but `kernel`, which only `npm run usb-kernel` asks for. */
export const NEEDS: readonly Need[] = ['browser', 'pcsc', 'usb', 'display', 'token'];
const ALL_NEEDS = Object.keys(PACKAGES) as readonly Need[];

export interface Preparation {
  /** Packages that were installed by this call. */
  readonly installed: readonly string[];
  /** Packages that are needed and still not there. */
  readonly missing: readonly string[];
  /** The one command that installs them; null when nothing is missing. */
  readonly command: string | null;
}

/** How the machine is asked and changed; tests give their own. */
export interface Machine {
  readonly isRoot: boolean;
  /** Those of `packages` that are installed and configured; null on a machine without dpkg. */
  installedOf(packages: readonly string[]): Promise<readonly string[] | null>;
  /** Runs apt-get with these arguments, its output on stderr; resolves to its exit code. */
  aptGet(given: readonly string[]): Promise<number>;
}

export interface PrepareOptions {
  readonly needs: readonly Need[];
  /** Only report; change nothing. */
  readonly check?: boolean;
  readonly log: (line: string) => void;
  readonly machine?: Machine;
}

/** Two installations at once wait for each other; a person's own apt, where it holds dpkg's lock, is waited for as long. */
const LOCK_WAIT_S = 600;
/** apt itself waits for dpkg's lock only, and fails at once on those of the lists and the archives: this one is around all three. */
const OWN_LOCK = ['--timeout', String(LOCK_WAIT_S), '/run/lock/kessai-apt.lock', 'apt-get'];
const APT_OPTIONS = ['-o', `DPkg::Lock::Timeout=${LOCK_WAIT_S}`];

/**
 * Installs what is missing if that is possible here (root on Debian), and reports. Never throws for a package that cannot be had:
 * it is then in `missing`, with the command to try by hand.
 */
export async function prepareMachine({ needs, check = false, log, machine = debianMachine() }: PrepareOptions): Promise<Preparation> {
  const wanted = [...new Set(needs.flatMap((need) => PACKAGES[need]))];
  const before = await missingOf(machine, wanted);
  if (before.length === 0) return { installed: [], missing: [], command: null };
  log(`Missing: ${before.join(' ')}`);
  if (check || !machine.isRoot || (await machine.installedOf([])) === null) return { installed: [], missing: before, command: commandFor(before) };
  await install(machine, before, log);
  const after = await missingOf(machine, wanted);
  const installed = before.filter((name) => !after.includes(name));
  return { installed, missing: after, command: after.length === 0 ? null : commandFor(after) };
}

async function missingOf(machine: Machine, wanted: readonly string[]): Promise<readonly string[]> {
  const installed = (await machine.installedOf(wanted)) ?? [];
  return wanted.filter((name) => !installed.includes(name));
}

/** A machine image may have no package lists or old ones: so a first failure is answered by an update, and that once more. */
async function install(machine: Machine, packages: readonly string[], log: (line: string) => void): Promise<void> {
  const installing = [...APT_OPTIONS, 'install', '--yes', '--no-install-recommends', ...packages];
  log('Installing with apt-get.');
  if ((await machine.aptGet(installing)) === 0) return;
  for (const attempt of ['Updating the package lists.', 'Updating the package lists once more.']) {
    log(attempt);
    if ((await machine.aptGet([...APT_OPTIONS, 'update'])) !== 0) continue;
    if ((await machine.aptGet(installing)) === 0) return;
  }
}

function commandFor(packages: readonly string[]): string {
  const asRoot = process.getuid?.() === 0 ? '' : 'sudo ';
  return `${asRoot}apt-get update && ${asRoot}apt-get install --yes --no-install-recommends ${packages.join(' ')}`;
}

function debianMachine(): Machine {
  return { isRoot: process.getuid?.() === 0, installedOf: askDpkg, aptGet: runAptGet };
}

function askDpkg(packages: readonly string[]): Promise<readonly string[] | null> {
  return new Promise((resolve) => {
    const query = packages.length === 0 ? ['dpkg'] : packages;
    // It exits with 1 when one of them is unknown, and still lists the others.
    execFile('dpkg-query', ['--show', '--showformat=${Package} ${db:Status-Status}\\n', ...query], { timeout: 30_000 }, (failure, output) => {
      if (failure !== null && typeof failure.code !== 'number') resolve(null);
      else resolve(output.split('\n').filter((line) => line.endsWith(' installed')).map((line) => line.split(' ')[0] ?? ''));
    });
  });
}

function runAptGet(given: readonly string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn('flock', [...OWN_LOCK, ...given], { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, stdio: ['ignore', 2, 2] });
    child.once('error', () => resolve(127));
    child.once('close', (code) => resolve(code ?? 1));
  });
}

function isNeed(name: string): name is Need {
  return Object.hasOwn(PACKAGES, name);
}

/** Exit code 0: nothing is missing; 2: something is, and stdout says how to get it. */
async function run(given: readonly string[], options: { check?: boolean; json?: boolean }): Promise<number> {
  const unknown = given.filter((name) => !isNeed(name));
  if (unknown.length > 0) {
    process.stderr.write(`Unknown: ${unknown.join(', ')}. There are ${ALL_NEEDS.join(', ')}.\n`);
    return 2;
  }
  const needs = given.length === 0 ? NEEDS : given.filter(isNeed);
  const result = await prepareMachine({ needs, check: options.check ?? false, log: (line) => process.stderr.write(`${line}\n`) });
  if (options.json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
  else process.stdout.write(result.command === null ? `Ready: nothing is missing${result.installed.length === 0 ? '' : ', installed ' + result.installed.join(' ')}.\n` : `This installs what is missing:\n${result.command}\n`);
  return result.missing.length === 0 ? 0 : 2;
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const program = new Command('prepare-machine')
    .description('Installs the Debian packages that the demo and the tests need; without root it prints the command that does.')
    .argument('[needs...]', `what for: ${ALL_NEEDS.join(', ')} (default: all but kernel)`)
    .option('--check', 'only report')
    .option('--json', 'report as one JSON object: installed, missing, command')
    .addHelpText('after', '\nExit code 0: ready; 2: something is missing.');
  process.exitCode = await runCommand(program, (options: { check?: boolean; json?: boolean }) => run(program.args, options));
}
