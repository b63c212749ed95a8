/** master-keys: lists the versions of the cards' master keys, never a key, and adds a version, in an encrypted file or in a PKCS#11 token. */
import { Command } from 'commander';
import { keyStorePlace, misuseOfKeyStore, withKeyStoreOptions, type KeyStoreOptions } from './key-store-place.ts';
import { EXIT, runCommand } from './run-command.ts';

interface MasterKeysOptions extends KeyStoreOptions {
  readonly list?: true;
  readonly addVersion?: true;
  readonly json?: true;
}

function commandLine(): Command {
  const command = new Command('master-keys')
    .description("Lists the versions of the cards' master keys, or adds a version. Shows no key, ever.")
    .option('--list', 'list the versions')
    .option('--add-version', 'add fresh master keys under the next version; the first one makes the store');
  return withKeyStoreOptions(command)
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nA running security server takes a new version over by itself, from a token within ten seconds. Exit code 1: failure, 2: wrong usage.');
}

async function run(options: MasterKeysOptions): Promise<number> {
  const misuse = (options.list === true) === (options.addVersion === true) ? 'either --list or --add-version' : misuseOfKeyStore(options);
  if (misuse !== undefined) {
    process.stderr.write(`error: ${misuse}\n`);
    return EXIT.usage;
  }
  const place = keyStorePlace(options);
  if (options.addVersion === true) await place.add();
  const problems: string[] = [];
  const store = await place.open(({ message }) => problems.push(message));
  const versions = await store.versions();
  await store.close();
  const currentVersion = versions.at(-1) ?? null;
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ keyStore: place.name, versions, currentVersion, added: options.addVersion === true ? currentVersion : null, problems })}\n`);
    return EXIT.done;
  }
  for (const problem of problems) process.stderr.write(`Not usable: ${problem}\n`);
  if (options.addVersion === true) process.stdout.write(`Version ${String(currentVersion)} is added. Back the key store up: without it no card of this version can be used.\n`);
  process.stdout.write(`${place.name}: ${currentVersion === null ? 'no versions' : `versions ${versions.join(', ')}; cards get ${currentVersion}`}\n`);
  return EXIT.done;
}

process.exitCode = await runCommand(commandLine(), run);
