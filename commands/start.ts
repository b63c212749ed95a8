/** start: everything up for a person with a browser and perhaps a card of their own, until Ctrl-C; says where everything is. */
import { join } from 'node:path';
import { Command, Option } from 'commander';
import type { ClientCertificates } from '#world/settlement.ts';
import { openStandingWorld, type StandingWorld } from '#world/standing.ts';
import { prepareMachine } from './prepare.ts';
import { EXIT, runCommand } from './run-command.ts';

interface StartOptions {
  readonly reader: 'own' | 'virtual' | 'sim';
  readonly clientCertificates: ClientCertificates;
  readonly merged?: true;
  readonly secondShop?: true;
  readonly register: boolean;
  readonly folder: string;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('start')
    .description('Starts shop, settlement, security and information server with their database, builds the extension, makes the card reader reachable for your own Chrome, and waits until Ctrl-C.')
    .addOption(new Option('--reader <kind>', "own: this computer's PC/SC service; virtual: a private one with a simulated card; sim: a simulated card without PC/SC").choices(['own', 'virtual', 'sim']).default('own'))
    .addOption(new Option('--client-certificates <mode>', 'whether shop and application server ask browsers for a certificate').choices(['required', 'requested', 'none']).default('requested'))
    .option('--merged', "the settlement's three servers in one process")
    .option('--second-shop', 'a second shop beside the first')
    .option('--no-register', "leave the folders of your own Chrome and Chromium alone: the extension then finds no reader")
    .option('--folder <folder>', 'where everything lives that this world keeps', 'var')
    .option('--json', 'print one JSON object with all addresses and paths once everything is up')
    .addHelpText('after', '\nProgress goes to standard error. Exit code 0: ended by SIGINT or SIGTERM; 1: failure, also of a server later on; 2: wrong usage or missing packages.');
}

/** Resolves at the first wish to end; a second one ends the process as it is. */
function untilAsked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
}

async function run(options: StartOptions): Promise<number> {
  const asked = untilAsked();
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  if (options.reader === 'virtual') {
    const { command } = await prepareMachine({ needs: ['pcsc'], log: say });
    if (command !== null) {
      say(`Some packages are missing. Install them with:\n  ${command}`);
      return EXIT.usage;
    }
  }
  const { reader, clientCertificates, merged = false, secondShop = false, register, folder } = options;
  const standing = await openStandingWorld({ folder, reader, clientCertificates, merged, secondShop, register, log: say });
  process.stdout.write(options.json === true ? `${JSON.stringify(addressesOf(standing, options))}\n` : describe(standing, options));
  const dead = await Promise.race([asked, firstToEnd(standing)]);
  say(typeof dead === 'string' ? `The server ${dead} has ended by itself; its log is ${join(standing.world.folder, 'log', `${dead}.log`)}. Ending.` : 'Ending.');
  await standing.stop();
  return typeof dead === 'string' ? EXIT.failed : EXIT.done;
}

/** Name of the server that ends first: nobody asked it to. */
function firstToEnd({ world }: StandingWorld): Promise<string> {
  return Promise.race([...world.servers.values()].map((server) => server.ended.then(() => server.name)));
}

function addressesOf({ world, extension, nativeHost, card, readerEnvironment }: StandingWorld, { reader, clientCertificates }: StartOptions): object {
  return {
    shops: world.shops.map(({ shopId, origin }) => ({ shopId, origin })),
    settlement: world.origins.application,
    enrolment: world.origins.enrolment,
    clientCertificates,
    folder: world.folder,
    extension: { folder: extension.extensionDir, id: extension.extensionId, version: extension.version },
    trust: { webRoot: world.pki.webRoot.file, root: world.pki.root.file },
    nativeHost,
    reader: { kind: reader, environment: readerEnvironment, ...(reader === 'sim' ? { port: world.ports.simReader } : {}) },
    card,
  };
}

function describe(standing: StandingWorld, options: StartOptions): string {
  const { world, extension } = standing;
  return [
    '',
    'Everything is up. Ctrl-C ends it.',
    '',
    ...world.shops.map(({ organization, origin }) => `  ${organization.padEnd(22)} ${origin}`),
    `  ${'Settlement'.padEnd(22)} ${world.origins.application}`,
    '',
    'In your own Chrome or Chromium (Linux, macOS):',
    `  1. Trust the web root ${world.pki.webRoot.file}`,
    '     (chrome://certificate-manager, Local certificates, Custom, Trusted certificates: Import).',
    '  2. chrome://extensions, Developer mode, Load unpacked:',
    `     ${extension.extensionDir}`,
    ...describeHost(standing),
    `  4. In the extension's options enter the one-time enrolment code that comes with a card, then open the shop.`,
    '',
    ...describeReader(standing, options),
    '',
    ...describeCertificates(standing, options),
    '',
  ].join('\n');
}

function describeHost({ nativeHost }: StandingWorld): string[] {
  if (nativeHost === null) return ['  3. The native host is not registered (--no-register): the extension will find no reader.'];
  return ['  3. The native host, through which the extension reaches the reader, is registered until Ctrl-C:', ...nativeHost.manifests.map((file) => `     ${file}`)];
}

function describeReader({ world, card, readerEnvironment }: StandingWorld, { reader, folder }: StartOptions): string[] {
  const issue = `npm run card-issue -- --balance 10000${folder === 'var' ? '' : ` --folder ${folder}`}`;
  if (card === null) {
    return [
      "Reader: your own, through this computer's PC/SC service (Debian: the package pcscd; Windows and macOS have one).",
      '  Put a factory-fresh MIFARE DESFire Light on it; this makes it a customer\'s card, loads JPY 10,000 and prints the enrolment code:',
      `    ${issue}`,
      '  Its keys become ours: it cannot be made factory-fresh again without them.',
      '  No reader at hand? npm start -- --reader virtual (or sim) puts a simulated card there.',
    ];
  }
  return [
    `Reader: simulated (${reader}), with the simulated card ${card.cardId} on it.`,
    `  One-time enrolment code: ${card.enrolmentCode}`,
    `  If a browser has used it already, another --folder gives a new card.${reader === 'sim' ? ` The native host listens for the card on 127.0.0.1:${world.ports.simReader}.` : ''}`,
    ...Object.entries(readerEnvironment).map(([name, value]) => `  Other PC/SC programs see it with ${name}=${value}`),
  ];
}

function describeCertificates({ world }: StandingWorld, { clientCertificates }: StartOptions): string[] {
  const pki = `npm run pki -- --folder ${world.pki.folder} --pkcs12 client.p12`;
  const words: Record<ClientCertificates, string> = {
    required: 'Client certificates are required: without one, the browser reaches neither shop nor settlement.',
    requested: 'Client certificates are requested: with none, the signed messages alone say who you are.',
    none: 'Client certificates are not asked for: the signed messages alone say who you are.',
  };
  return [
    words[clientCertificates],
    `  Write one to import (chrome://certificate-manager, Your certificates): ${pki}`,
    ...(clientCertificates === 'required' ? [] : ['  Then require it: npm start -- --client-certificates required']),
  ];
}

// A native library may keep a handle: everything is closed by now.
process.exit(await runCommand(commandLine(), run));
