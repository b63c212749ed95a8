/** build: bundles the extension for one deployment, the shop's page script beside it, and the native host. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { build } from 'vite';
import { EXTENSION_ID } from '../extension/extension-id.ts';
import { extensionBuilds, PAGE_SCRIPT, pageScriptDir, readDeployment } from '../vite.config.ts';

const EXIT_FAILURE = 1;
const EXIT_USAGE = 2;
const DEFAULT_OUT = 'var/build/extension';

export interface ExtensionBuild {
  /** The folder to load unpacked. */
  readonly extensionDir: string;
  readonly extensionId: string;
  readonly version: string;
  /** The script that a shop serves to its pages. */
  readonly pageScript: string;
  /** For the shop's script element: `sha384-…`. */
  readonly pageScriptIntegrity: string;
}

/** Empties and fills `outDir`; the page script goes to `<outDir>/../page/`. Throws where the deployment or the code is wrong. */
export async function buildExtension(options: { readonly deploymentFile: string; readonly outDir: string; readonly log?: (line: string) => void }): Promise<ExtensionBuild> {
  const { log = () => undefined } = options;
  const deployment = readDeployment(options.deploymentFile);
  const extensionDir = resolve(options.outDir);
  const startedAt = performance.now();
  const [pages, ...scripts] = extensionBuilds(deployment, extensionDir);
  await build(pages);
  await Promise.all(scripts.map((script) => build(script)));
  const pageScript = join(pageScriptDir(extensionDir), PAGE_SCRIPT);
  log(`extension ${deployment.version} for ${deployment.settlementOrigin} in ${extensionDir} (${Math.round(performance.now() - startedAt)} ms)`);
  return { extensionDir, extensionId: EXTENSION_ID, version: deployment.version, pageScript, pageScriptIntegrity: await integrityOf(pageScript) };
}

/** Subresource integrity of a file (W3C SRI, 3.1). */
async function integrityOf(file: string): Promise<string> {
  return `sha384-${createHash('sha384').update(await readFile(file)).digest('base64')}`;
}

async function main(): Promise<void> {
  const command: Command = new Command('build')
    .description('Builds the extension, the shop’s page script and the native host.')
    .option('--deployment <file>', 'whom to trust and whom to call (JSON); default: $KESSAI_DEPLOYMENT')
    .option('--out <dir>', 'folder of the extension', DEFAULT_OUT)
    .option('--json', 'print the result as one JSON object')
    .exitOverride()
    .parse();
  const { deployment = process.env.KESSAI_DEPLOYMENT, out, json } = command.opts<{ deployment?: string; out: string; json?: true }>();
  if (deployment === undefined) command.error('error: name the deployment with --deployment or KESSAI_DEPLOYMENT');
  const result = await buildExtension({ deploymentFile: deployment, outDir: out, log: (line) => process.stderr.write(`${line}\n`) });
  if (json === true) process.stdout.write(`${JSON.stringify(result)}\n`);
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === import.meta.filename) {
  main().catch((reason: unknown) => {
    if (reason instanceof CommanderError) process.exit(reason.exitCode === 0 ? 0 : EXIT_USAGE);
    process.stderr.write(`build: ${reason instanceof Error ? reason.message : String(reason)}\n`);
    process.exit(EXIT_FAILURE);
  });
}
