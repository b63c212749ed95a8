/** The built host to install: the one that the published package brings, or one built from these sources. */
import { copyFile, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HOST_BUNDLE_NAME } from './bundle-name.ts';
import { copyKoffi } from './koffi-files.ts';

export interface BuiltHost {
  /** Runs by itself; temporary. */
  readonly folder: string;
  remove(): Promise<void>;
}

/** In the published package it lies beside the command line. */
const PACKAGED = fileURLToPath(new URL(`host/${HOST_BUNDLE_NAME}`, import.meta.url));

/** Takes a second or two where it must be built. Throws where it cannot be. */
export async function openBuiltHost(): Promise<BuiltHost> {
  const folder = await mkdtemp(join(tmpdir(), 'kessai-host-build-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  try {
    const isPackaged = await stat(PACKAGED).then(() => true, () => false);
    if (isPackaged) {
      await copyFile(PACKAGED, join(folder, HOST_BUNDLE_NAME));
      await copyKoffi(folder);
    } else {
      const [{ build }, { hostBuildConfig }] = await Promise.all([import('vite'), import('./vite.config.ts')]);
      await build(hostBuildConfig(folder));
    }
    return { folder, remove };
  } catch (reason) {
    await remove();
    throw reason;
  }
}
