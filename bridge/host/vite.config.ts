/** Builds the host into one file with koffi's ready-made binary beside it, a folder that runs by itself wherever it is put; and the command line that installs it. */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { InlineConfig } from 'vite';
import { HOST_BUNDLE_NAME } from './bundle-name.ts';
import { copyKoffi } from './koffi-files.ts';

export { HOST_BUNDLE_NAME };

const HOST_FOLDER = fileURLToPath(new URL('.', import.meta.url));
const PROJECT_FOLDER = join(HOST_FOLDER, '../..');

/** For vite's `build`: writes `outDir/kessai-host.mjs` and `outDir/node_modules/koffi` for this platform. */
export function hostBuildConfig(outDir: string): InlineConfig {
  return {
    ...nodeBundle('main.ts', HOST_BUNDLE_NAME, outDir),
    plugins: [{ name: 'bring-koffi', apply: 'build', closeBundle: () => copyKoffi(outDir) }],
  };
}

/** The command line of the published package: `outDir/kessai-host.mjs`, which finds koffi among its package's dependencies. */
export function commandLineBuildConfig(outDir: string): InlineConfig {
  return nodeBundle('kessai-host.ts', 'kessai-host.mjs', outDir);
}

function nodeBundle(entry: string, name: string, outDir: string): InlineConfig {
  return {
    configFile: false,
    root: PROJECT_FOLDER,
    logLevel: 'warn',
    ssr: { noExternal: true, target: 'node' },
    build: {
      ssr: join(HOST_FOLDER, entry),
      outDir,
      emptyOutDir: true,
      target: 'node20',
      minify: false,
      rolldownOptions: { external: [/^node:/, 'vite'], output: { entryFileNames: name, format: 'es', codeSplitting: false } },
    },
  };
}
