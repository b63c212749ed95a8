/** koffi as the built host needs it beside itself: its scripts and the ready-made binary of this platform. */
import { cp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

/** What `require('koffi')` reads, and its licence. */
const KOFFI_FILES = ['package.json', 'index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs', 'LICENSE.txt'];

/** Copies into `target/node_modules`. koffi finds its binary by its own place there, so it is copied as it is and not bundled. */
export async function copyKoffi(target: string): Promise<void> {
  const koffiFolder = dirname(createRequire(import.meta.url).resolve('koffi'));
  const modules = join(target, 'node_modules');
  const binaryPackage = `@koromix/koffi-${process.platform}-${process.arch}`;
  for (const file of KOFFI_FILES) await cp(join(koffiFolder, file), join(modules, 'koffi', file));
  await cp(join(koffiFolder, '..', binaryPackage), join(modules, binaryPackage), { recursive: true });
}
