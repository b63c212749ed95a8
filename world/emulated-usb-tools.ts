/** Builds the two native programs behind the emulated devices (`e2e/usb`): the library that Chromium loads, and the announcer of plugged devices. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const SOURCES = fileURLToPath(new URL('../e2e/usb/', import.meta.url));
const FLAGS = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-pthread'];
const SHIM_SOURCES = ['usb-shim.c', 'usb-device.c', 'usbfs.c', 'hidraw.c'];
const COMPILE_LIMIT_MS = 60_000;
const ANNOUNCE_LIMIT_MS = 5_000;
const run = promisify(execFile);

export interface UsbTools {
  /** For LD_PRELOAD. */
  readonly shim: string;
  /** Tells the listeners of that netlink group; needs root. */
  announce(group: number, properties: Readonly<Record<string, string>>): Promise<void>;
}

/** Compiles into `folder` what is not there yet for these sources. */
export async function buildUsbTools(folder: string): Promise<UsbTools> {
  const names = (await readdir(SOURCES)).filter((name) => /[.][ch]$/.test(name)).sort();
  const hash = createHash('sha256').update(FLAGS.join(' '));
  for (const name of names) hash.update(name).update(await readFile(join(SOURCES, name)));
  const version = hash.digest('hex').slice(0, 16);
  await mkdir(folder, { recursive: true });
  const [shim, uevent] = [join(folder, `usb-shim-${version}.so`), join(folder, `uevent-${version}`)];
  // LD_PRELOAD has no way to write a name with these.
  if (/[\s:]/.test(shim)) throw new Error(`Emulated readers cannot work from ${folder}: its name has a space or a colon.`);
  await Promise.all([compile(shim, ['-shared', '-fPIC', ...SHIM_SOURCES, '-ldl']), compile(uevent, ['uevent.c'])]);
  return {
    shim,
    announce: async (group, properties) => {
      await run(uevent, [String(group), ...Object.entries(properties).map(([key, value]) => `${key}=${value}`)], { timeout: ANNOUNCE_LIMIT_MS });
    },
  };
}

async function compile(output: string, parameters: readonly string[]): Promise<void> {
  const made = await access(output).then(() => true, () => false);
  if (made) return;
  const unfinished = `${output}.${process.pid}`;
  try {
    await run('gcc', [...FLAGS, '-o', unfinished, ...parameters], { cwd: SOURCES, timeout: COMPILE_LIMIT_MS });
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw new Error(missing ? 'Emulated readers need a C compiler: run `npm run prepare-machine usb`.' : 'The emulated readers\' native part could not be compiled (packages gcc and libc6-dev).', { cause });
  }
  await rename(unfinished, output);
}
