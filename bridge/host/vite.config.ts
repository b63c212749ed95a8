/** Builds the host into one file with koffi's ready-made binary beside it: a folder that runs by itself, wherever it is put. */
import { cp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { InlineConfig, Plugin } from 'vite';

const HOST_FOLDER = fileURLToPath(new URL('.', import.meta.url));
const PROJECT_FOLDER = join(HOST_FOLDER, '../..');

/** What `require('koffi')` reads, and its licence. */
const KOFFI_FILES = ['package.json', 'index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs', 'LICENSE.txt'];

export const HOST_BUNDLE_NAME = 'kessai-host.mjs';

/** For vite's `build`: writes `outDir/kessai-host.mjs` and `outDir/node_modules/koffi` for this platform. */
export function hostBuildConfig(outDir: string): InlineConfig {
  return {
    configFile: false,
    root: PROJECT_FOLDER,
    logLevel: 'warn',
    plugins: [bringKoffi(outDir)],
    ssr: { noExternal: true, target: 'node' },
    build: {
      ssr: join(HOST_FOLDER, 'main.ts'),
      outDir,
      emptyOutDir: true,
      target: 'node20',
      minify: false,
      rolldownOptions: { external: [/^node:/], output: { entryFileNames: HOST_BUNDLE_NAME, format: 'es', codeSplitting: false } },
    },
  };
}

/**
 * koffi finds its binary by its own place in node_modules, so it is not bundled but copied as it is: its scripts, and the
 * binary package of this platform. Node resolves both from the bundle's folder.
 */
function bringKoffi(outDir: string): Plugin {
  return {
    name: 'bring-koffi',
    apply: 'build',
    async closeBundle() {
      const require = createRequire(import.meta.url);
      const koffiFolder = dirname(require.resolve('koffi'));
      const target = join(outDir, 'node_modules');
      const binaryPackage = `@koromix/koffi-${process.platform}-${process.arch}`;
      for (const file of KOFFI_FILES) await cp(join(koffiFolder, file), join(target, 'koffi', file));
      await cp(join(koffiFolder, '..', binaryPackage), join(target, binaryPackage), { recursive: true });
    },
  };
}
