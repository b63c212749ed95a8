/** kessai-host: installs the reader program for the browsers of this computer, removes it, and says why a reader does not work. */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { EXTENSION_ID, extensionOrigin, GECKO_ID } from '#bridge/native/callers.ts';
import { udevRules, UDEV_RULES_PATH } from '#bridge/udev-rules.ts';
import { asFailure, FAILURES } from '#protocol/failure.ts';
import { ableToStartHosts, findBrowsers } from './browsers.ts';
import { openBuiltHost } from './built-host.ts';
import { HOST_BUNDLE_NAME } from './bundle-name.ts';
import type { HostConfig } from './config.ts';
import { findHostTroubles } from './doctor/host-findings.ts';
import { findRegistrationTroubles } from './doctor/registration-findings.ts';
import { reportObject, reportText } from './doctor/report.ts';
import { install, uninstall, type Change } from './install.ts';
import { createPcscBackend } from './pcsc/backend.ts';
import { BROWSER_IDS, BROWSERS, type BrowserId, type Scope } from './places.ts';
import type { Platform } from './platform.ts';
import { HOST_VERSION } from './version.ts';

/** `problems`: something is not well, or could not be done. */
export const EXIT = { fine: 0, problems: 1, usage: 2 } as const;

export interface Console {
  out(text: string): void;
  err(text: string): void;
}

interface InstallFlags {
  readonly browser: readonly (BrowserId | 'all')[];
  readonly system?: true;
  readonly extensionId: readonly string[];
  readonly dryRun?: true;
  readonly replace?: true;
  readonly json?: true;
}
interface UninstallFlags {
  readonly system?: true;
  readonly dryRun?: true;
  readonly json?: true;
}
interface DoctorFlags {
  readonly card?: true;
  readonly udevRules?: true;
  readonly json?: true;
}

/** Runs one command; resolves to the exit code. `parameters` are those after the program's name. */
export async function runHostCommand(parameters: readonly string[], platform: Platform, console: Console): Promise<number> {
  let exitCode: number = EXIT.fine;
  const done = async (work: Promise<number>): Promise<void> => {
    exitCode = await work;
  };
  const program = new Command('kessai-host')
    .description('The reader program of Kessai: a native-messaging host that carries commands from the payment extension to a card on a PC/SC reader.')
    .version(HOST_VERSION)
    .exitOverride()
    .configureOutput({ writeOut: (text) => console.out(text), writeErr: (text) => console.err(text) });
  program
    .command('install')
    .description('Copies the reader program to a place that lasts and registers it with browsers. Says every file and key. May be repeated.')
    .addOption(new Option('--browser <name...>', 'for these; default: those that are found').choices([...BROWSER_IDS, 'all']).default([], 'those found'))
    .option('--user', 'for this user (default)')
    .addOption(new Option('--system', 'for all users; needs an administrator').conflicts('user'))
    .option('--extension-id <id>', 'one more extension that may call it: an id of Chromium (32 letters a to p) or an add-on id of Firefox; repeatable', collectId, [])
    .option('--replace', 'take the place of a registration that another installation wrote')
    .option('--dry-run', 'only say what would be written')
    .option('--json', 'print the result as one JSON object')
    .action((flags: InstallFlags) => done(runInstall(flags, platform, console)));
  program
    .command('uninstall')
    .description('Removes exactly what install wrote.')
    .option('--system', 'the installation for all users')
    .option('--dry-run', 'only say what would be removed')
    .option('--json', 'print the result as one JSON object')
    .action((flags: UninstallFlags) => done(runUninstall(flags, platform, console)));
  program
    .command('doctor')
    .description('Looks at browsers, registration, PC/SC service, readers, drivers and permissions, and says what to do. Changes nothing.')
    .option('--card', 'also ask the card on the reader for its kind, on an exclusive connection for a moment')
    .option('--udev-rules', `only print the udev rules for Linux, for: sudo tee ${UDEV_RULES_PATH}`)
    .option('--json', 'print the findings as one JSON object')
    .action((flags: DoctorFlags) => done(runDoctor(flags, platform, console)));
  try {
    await program.parseAsync([...parameters], { from: 'user' });
  } catch (reason) {
    if (reason instanceof CommanderError) return reason.exitCode === 0 ? EXIT.fine : EXIT.usage;
    const failure = asFailure(reason);
    const message = reason instanceof Error ? reason.message : String(reason);
    console.err(`kessai-host: ${failure.code === 'internal/bug' ? message : FAILURES[failure.code].text}\n`);
    return EXIT.problems;
  }
  return exitCode;
}

const CHROMIUM_ID = /^[a-p]{32}$/;

function collectId(id: string, earlier: readonly string[]): string[] {
  const isId = CHROMIUM_ID.test(id) || /^[\w.+-]*@[\w.-]+$/.test(id) || /^\{[0-9a-f-]{36}\}$/i.test(id);
  if (!isId) throw new InvalidArgumentError('neither an id of Chromium nor of Firefox.');
  // As many as the configuration takes beside our own.
  if (earlier.length >= 7) throw new InvalidArgumentError('at most 7.');
  return [...earlier, id];
}

async function runInstall(flags: InstallFlags, platform: Platform, console: Console): Promise<number> {
  const scope: Scope = flags.system === true ? 'system' : 'user';
  const found = await findBrowsers(platform);
  const able = ableToStartHosts(found);
  const browsers = flags.browser.includes('all') ? BROWSER_IDS : flags.browser.length > 0 ? BROWSER_IDS.filter((id) => flags.browser.includes(id)) : able;
  const notes = found
    .filter(({ id, sandbox }) => sandbox !== undefined && (flags.browser.length === 0 || browsers.includes(id)))
    .map(({ id, sandbox }) => `${BROWSERS[id].title} is here as a ${sandbox === 'snap' ? 'Snap' : 'Flatpak'}, which cannot start the reader program. Install it as a package of your distribution or of its maker.`);
  if (browsers.length === 0) {
    const message = 'No browser was found that can start the reader program. Name one with --browser.';
    if (flags.json === true) console.out(`${JSON.stringify({ version: HOST_VERSION, browsers, changes: [], notes: [...notes, message] })}\n`);
    else console.err([...notes, message, ''].join('\n'));
    return EXIT.problems;
  }
  const built = await openBuiltHost();
  try {
    const changes = await install(platform, {
      browsers,
      scope,
      config: configFor(flags.extensionId),
      bundleFolder: built.folder,
      bundleName: HOST_BUNDLE_NAME,
      version: HOST_VERSION,
      dryRun: flags.dryRun === true,
      replace: flags.replace === true,
    });
    if (changes.some(({ action, why }) => action === 'left' && why?.startsWith('another') === true)) notes.push('A registration of another installation was left alone; --replace takes its place.');
    if (flags.json === true) console.out(`${JSON.stringify({ version: HOST_VERSION, browsers, dryRun: flags.dryRun === true, changes, notes })}\n`);
    else {
      console.out(changesText(changes, flags.dryRun === true));
      console.out(`${flags.dryRun === true ? 'Would be registered' : 'Registered'} for ${browsers.map((id) => BROWSERS[id].title).join(', ')}; version ${HOST_VERSION}.\n`);
      for (const note of notes) console.err(`${note}\n`);
    }
    return changes.some(({ action }) => action === 'left') ? EXIT.problems : EXIT.fine;
  } finally {
    await built.remove();
  }
}

function configFor(extensionIds: readonly string[]): HostConfig {
  const chromium = [EXTENSION_ID, ...extensionIds.filter((id) => CHROMIUM_ID.test(id))];
  const firefox = [GECKO_ID, ...extensionIds.filter((id) => !CHROMIUM_ID.test(id))];
  return { allowedOrigins: [...new Set(chromium)].map(extensionOrigin), allowedExtensions: [...new Set(firefox)], reader: { kind: 'pcsc' } };
}

async function runUninstall(flags: UninstallFlags, platform: Platform, console: Console): Promise<number> {
  const dryRun = flags.dryRun === true;
  const outcome = await uninstall(platform, { scope: flags.system === true ? 'system' : 'user', dryRun });
  const changes = outcome === 'not-installed' ? [] : outcome;
  if (flags.json === true) console.out(`${JSON.stringify({ installed: outcome !== 'not-installed', dryRun, changes })}\n`);
  else console.out(outcome === 'not-installed' ? 'Nothing is installed here.\n' : changesText(changes, dryRun));
  return changes.some(({ action }) => action === 'left') ? EXIT.problems : EXIT.fine;
}

function changesText(changes: readonly Change[], dryRun: boolean): string {
  const words = dryRun ? { wrote: 'would write', unchanged: 'is already', removed: 'would remove', left: 'would leave' } : { wrote: 'wrote', unchanged: 'unchanged', removed: 'removed', left: 'left alone' };
  return changes.map(({ action, path, why }) => `${words[action]} ${path}${why === undefined ? '' : ` (${why})`}\n`).join('');
}

async function runDoctor(flags: DoctorFlags, platform: Platform, console: Console): Promise<number> {
  if (flags.udevRules === true) {
    console.out(udevRules());
    return EXIT.fine;
  }
  const backend = createPcscBackend();
  const registration = await findRegistrationTroubles(platform, { version: HOST_VERSION, extensionId: EXTENSION_ID, addOnId: GECKO_ID });
  const host = await findHostTroubles(platform, backend, { askCard: flags.card === true });
  await backend.close();
  const findings = [...registration, ...host];
  if (flags.json === true) console.out(`${JSON.stringify(reportObject(findings, platform.system))}\n`);
  else {
    console.out(reportText(findings, platform.system));
    if (findings.some(({ id, state }) => id === 'udev-rule' && state === 'problem')) console.out(`\nThe rules, for ${UDEV_RULES_PATH}:\n\n${udevRules()}`);
  }
  return findings.some(({ state }) => state === 'problem') ? EXIT.problems : EXIT.fine;
}
