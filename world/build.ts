/** Builds what runs outside of Node's tree: the extension for one deployment, the script that shops serve, and the native host. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { build } from 'vite';
import { HOST_BUNDLE_NAME, hostBuildConfig } from '../bridge/host/vite.config.ts';
import { EXTENSION_ID } from '../extension/extension-id.ts';
import { extensionBuilds, PAGE_SCRIPT, pageScriptDir, readDeployment } from '../vite.config.ts';

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

/** Answers the path of the bundle; the folder around it runs by itself. */
export async function buildNativeHost(outDir: string): Promise<string> {
  await build(hostBuildConfig(resolve(outDir)));
  return join(resolve(outDir), HOST_BUNDLE_NAME);
}

/** Subresource integrity of a file (W3C SRI, 3.1). */
async function integrityOf(file: string): Promise<string> {
  return `sha384-${createHash('sha384').update(await readFile(file)).digest('base64')}`;
}
