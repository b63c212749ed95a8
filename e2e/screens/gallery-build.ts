/** Builds the gallery as an extension of its own, so that the screens are seen where they live: in an extension page, with its messages. */
import { join, resolve } from 'node:path';
import { build } from 'vite';
import { createManifest } from '../../extension/manifest.ts';
import type { Deployment } from '../../extension/deployment.ts';
import { baseConfig, extensionFiles } from '../../vite.config.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const SAMPLE: Deployment = { trustAnchors: ['AA=='], settlementOrigin: 'https://settlement.example', enrolmentOrigin: 'https://settlement.example', version: '0.1.0', readBalance: true };

export const GALLERY_PAGE = 'e2e/screens/gallery/gallery.html';

/** The product's manifest without what would run by itself. */
export async function buildGallery(outDir: string): Promise<void> {
  const manifest = { ...createManifest(SAMPLE), content_scripts: [], background: undefined, options_ui: undefined };
  const base = baseConfig(SAMPLE, resolve(outDir));
  await build({ ...base, root: ROOT, plugins: [extensionFiles(SAMPLE, manifest)], build: { ...base.build, emptyOutDir: true, rolldownOptions: { input: join(ROOT, GALLERY_PAGE) } } });
}
