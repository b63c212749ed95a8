/** build: bundles the extension for one deployment, the shop's page script beside it, and the native host. */
import { dirname, join, resolve } from 'node:path';
import { Command } from 'commander';
import { buildExtension, buildNativeHost } from '#world/build.ts';
import { EXIT, runCommand } from './run-command.ts';

const DEFAULT_OUT = 'var/build/extension';

interface BuildOptions {
  readonly deployment?: string;
  readonly out: string;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('build')
    .description('Builds the extension, the script that shops serve (in ../page) and the native host (in ../host).')
    .option('--deployment <file>', 'whom to trust and whom to call (JSON); default: $KESSAI_DEPLOYMENT')
    .option('--out <dir>', 'folder of the extension', DEFAULT_OUT)
    .option('--json', 'print the result as one JSON object');
}

process.exitCode = await runCommand(commandLine(), async ({ deployment = process.env['KESSAI_DEPLOYMENT'], out, json }: BuildOptions) => {
  if (deployment === undefined) {
    process.stderr.write('build: name the deployment with --deployment or KESSAI_DEPLOYMENT\n');
    return EXIT.usage;
  }
  const [extension, hostBundle] = await Promise.all([
    buildExtension({ deploymentFile: deployment, outDir: out, log: (line) => process.stderr.write(`${line}\n`) }),
    buildNativeHost(join(dirname(resolve(out)), 'host')),
  ]);
  process.stdout.write(json === true ? `${JSON.stringify({ ...extension, hostBundle })}\n` : `Load unpacked: ${extension.extensionDir}\nPage script:   ${extension.pageScript}\nNative host:   ${hostBundle}\n`);
  return EXIT.done;
});
