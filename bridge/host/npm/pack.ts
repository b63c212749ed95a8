/** Builds what the published package holds, beside its package.json: the command line and the host that it installs. */
import { rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { join } from 'node:path';
import { build } from 'vite';
import { HOST_BUNDLE_NAME } from '../bundle-name.ts';
import { commandLineBuildConfig, hostBuildConfig } from '../vite.config.ts';

const DIST = fileURLToPath(new URL('dist', import.meta.url));

await build(commandLineBuildConfig(DIST));
await build(hostBuildConfig(join(DIST, 'host')));
// npm brings koffi for the platform that the package is installed on.
await rm(join(DIST, 'host', 'node_modules'), { recursive: true });
process.stdout.write(`${join(DIST, 'host', HOST_BUNDLE_NAME)}\n`);
