/** How the extension is bundled: its pages as modules, its background and content script as one file each, and the shop's page script beside them. */
import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { defineConfig, type InlineConfig, type Plugin } from 'vite';
import { parseDeployment, type Deployment } from './extension/deployment.ts';
import { BACKGROUND_SCRIPT, CARD_PAGE, CONTENT_SCRIPT, createManifest, OPTIONS_PAGE, PAYMENT_PAGE, READERS_PAGE } from './extension/manifest.ts';
import productPackage from './package.json' with { type: 'json' };

const EXTENSION = resolve(import.meta.dirname, 'extension');
const LOCALES = ['en', 'ja'];
const ICON_SIZES = [16, 32, 48, 128];
export const PAGE_SCRIPT = 'ic-card.js';

/** `deploymentFile`: JSON of deployment.ts; its `version` may be left out and is then the product's. */
export function readDeployment(deploymentFile: string): Deployment {
  return parseDeployment({ version: productPackage.version, ...(JSON.parse(readFileSync(deploymentFile, 'utf8')) as object) });
}

/** Where the page script of the extension in `outDir` goes: the shop serves it, the extension does not carry it. */
export function pageScriptDir(outDir: string): string {
  return join(dirname(resolve(outDir)), 'page');
}

/** Independent of each other; the first one empties `outDir`, so it runs before the rest. */
export function extensionBuilds(deployment: Deployment, outDir: string): readonly [InlineConfig, ...InlineConfig[]] {
  const into = resolve(outDir);
  return [
    pages(deployment, into),
    singleFile(deployment, into, 'background/background.ts', BACKGROUND_SCRIPT),
    singleFile(deployment, into, 'content/content-script.ts', CONTENT_SCRIPT),
    singleFile(deployment, pageScriptDir(into), 'page/ic-card.ts', PAGE_SCRIPT),
  ];
}

/** What every build has in common. */
export function baseConfig(deployment: Deployment, outDir: string): InlineConfig {
  return {
    configFile: false,
    root: EXTENSION,
    base: '/',
    publicDir: false,
    logLevel: 'warn',
    define: { KESSAI_DEPLOYMENT: JSON.stringify(deployment) },
    build: { outDir, emptyOutDir: false, target: ['chrome120', 'firefox128'], modulePreload: false, reportCompressedSize: false, chunkSizeWarningLimit: 1000 },
  };
}

function pages(deployment: Deployment, outDir: string): InlineConfig {
  const base = baseConfig(deployment, outDir);
  return {
    ...base,
    plugins: [extensionFiles(deployment)],
    build: {
      ...base.build,
      emptyOutDir: true,
      rolldownOptions: {
        input: [join(EXTENSION, PAYMENT_PAGE), join(EXTENSION, OPTIONS_PAGE), join(EXTENSION, READERS_PAGE), join(EXTENSION, CARD_PAGE)],
        output: { entryFileNames: 'assets/[name].js', chunkFileNames: 'assets/[name].js', assetFileNames: 'assets/[name][extname]' },
      },
    },
  };
}

/** A classic script: content scripts are no modules, and a service worker may not import() (HTML, 10.2.7), so nothing is split off. */
function singleFile(deployment: Deployment, outDir: string, entry: string, fileName: string): InlineConfig {
  const base = baseConfig(deployment, outDir);
  return {
    ...base,
    build: {
      ...base.build,
      rolldownOptions: { input: join(EXTENSION, entry), output: { format: 'iife', entryFileNames: fileName, codeSplitting: false } },
    },
  };
}

/** Manifest, messages and icons: files that no code imports. */
export function extensionFiles(deployment: Deployment, manifest: object = createManifest(deployment)): Plugin {
  const locales = LOCALES.map((locale) => `_locales/${locale}/messages.json`);
  const icons = ICON_SIZES.map((size) => `icons/${size}.png`);
  return {
    name: 'kessai-extension-files',
    buildStart() {
      for (const file of [...locales, ...icons]) this.addWatchFile(join(EXTENSION, file));
    },
    generateBundle() {
      this.emitFile({ type: 'asset', fileName: 'manifest.json', source: `${JSON.stringify(manifest, null, 2)}\n` });
      for (const file of [...locales, ...icons]) this.emitFile({ type: 'asset', fileName: file, source: readFileSync(join(EXTENSION, file)) });
    },
  };
}

/** For Vite's own command line: the extension's pages, by the deployment that KESSAI_DEPLOYMENT names. `npm run build` makes everything. */
export default defineConfig(() => {
  const file = process.env.KESSAI_DEPLOYMENT;
  if (file === undefined) throw new Error('KESSAI_DEPLOYMENT must name a deployment file');
  return pages(readDeployment(file), resolve(import.meta.dirname, 'var/build/extension'));
});
