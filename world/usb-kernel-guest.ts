/** A computer inside this one, in software: Debian's own kernel on this machine's files, which it reads but cannot change. It is told what to do line by line. */
import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';

/** As a program in the guest reaches this machine's 127.0.0.1 (QEMU's user network). */
export const HOST_IN_GUEST = '10.0.2.2';
/** Of the guest in that network. */
export const GUEST_ADDRESS = '10.0.2.15';
const SCRIPTS = resolve(import.meta.dirname, '../e2e/usb/kernel');
/** What the guest needs to reach its files; udev loads the rest by itself. */
const EARLY_MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'overlay'];
const MEMORY_MIB = 3_072;
const DOWNLOAD_LIMIT_MS = 600_000;
const TOOL_LIMIT_MS = 120_000;
const BOOT_LIMIT_MS = 240_000;
const LINE_LIMIT_MS = 60_000;
const MAX_OUTPUT_BYTES = 1 << 20;

export interface KernelGuestOptions {
  /** The kernel is kept in it (400 MB), for the next time; its name has no space and no comma. */
  readonly folder: string;
  /** `tcg`: in software, anywhere. `kvm`: by the processor, where the machine has /dev/kvm. */
  readonly accelerator: 'tcg' | 'kvm';
  /** On 127.0.0.1 here, for the guest's port of the same number. */
  readonly forwardedPort: number;
  readonly log: (line: string) => void;
}

export interface KernelGuest {
  /** As `uname -r` says. */
  readonly release: string;
  /** Runs one line of bash as root; resolves to what it printed. Throws an Error with that if it ends in failure, or takes longer than `limitMs`; that ends the guest. */
  run(line: string, limitMs?: number): Promise<string>;
  close(): Promise<void>;
}

/** Throws an Error with the kernel's last words where it does not come up. */
export async function bootKernelGuest({ folder, accelerator, forwardedPort, log }: KernelGuestOptions): Promise<KernelGuest> {
  const place = resolve(folder);
  if (/[\s,]/.test(place)) throw new Error(`${place}: a name without space and comma is needed`);
  await mkdir(place, { recursive: true });
  const kernel = await ensureKernel(place, log);
  log(`booting Linux ${kernel.release}`);
  const initramfs = join(place, 'initramfs.gz');
  await script('make-initramfs.sh', [initramfs, kernel.folder, kernel.release, ...EARLY_MODULES]);
  const parameters = ['console=ttyS0', 'panic=-1', 'random.trust_cpu=on', 'net.ifnames=0', 'mitigations=off', `KESSAI_INIT=${join(SCRIPTS, 'guest-init.sh')}`, `KESSAI_MODULES=${join(kernel.folder, 'lib/modules')}`];
  const console = join(place, 'console.log');
  const qemu = spawn('qemu-system-x86_64', [
    '-accel', accelerator, '-cpu', accelerator === 'kvm' ? 'host' : 'max', '-smp', '2', '-m', String(MEMORY_MIB), '-no-reboot',
    '-display', 'none', '-vga', 'none', '-monitor', 'none', '-serial', `file:${console}`, '-serial', 'stdio',
    '-kernel', join(kernel.folder, 'boot', `vmlinuz-${kernel.release}`), '-initrd', initramfs, '-append', parameters.join(' '),
    '-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
    '-netdev', `user,id=net,hostfwd=tcp:127.0.0.1:${forwardedPort}-${GUEST_ADDRESS}:${forwardedPort}`, '-device', 'virtio-net-pci,netdev=net,romfile=', '-device', 'virtio-rng-pci',
  ], { stdio: ['pipe', 'pipe', 'pipe'] });
  const guest = new GuestConsole(qemu, kernel.release);
  try {
    await guest.ready();
    return guest;
  } catch (cause) {
    await guest.close();
    throw new Error(`the guest did not come up; its kernel's messages are in ${console}`, { cause });
  }
}

interface Kernel {
  readonly folder: string;
  readonly release: string;
}

async function ensureKernel(place: string, log: (line: string) => void): Promise<Kernel> {
  const folder = join(place, 'kernel');
  if (!existsSync(folder)) {
    log('downloading the kernel (70 MB)');
    const making = `${folder}.new`;
    await rm(making, { recursive: true, force: true });
    await mkdir(making, { recursive: true });
    await script('fetch-kernel.sh', [making], DOWNLOAD_LIMIT_MS);
    await rename(making, folder);
  }
  const [release] = await readdir(join(folder, 'lib/modules'));
  if (release === undefined) throw new Error(`${folder} holds no kernel: delete it`);
  return { folder, release };
}

/** Throws an Error with what it said. */
async function script(name: string, given: readonly string[], limitMs = TOOL_LIMIT_MS): Promise<void> {
  // Where modprobe and depmod are, and apt's words as the script reads them.
  const environment = { ...process.env, LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` };
  await promisify(execFile)(join(SCRIPTS, name), given, { timeout: limitMs, env: environment });
}

/** Any process that says `<ready>`, then takes lines and ends what it prints for each with `<end CODE>`. */
export class GuestConsole implements KernelGuest {
  readonly release: string;
  readonly #qemu: ChildProcess;
  readonly #ended: Promise<never>;
  #output = '';
  #errors = '';
  #heard: () => void = () => undefined;
  #turn: Promise<unknown> = Promise.resolve();
  readonly #kill = (): void => void this.#qemu.kill('SIGKILL');

  constructor(qemu: ChildProcess, release: string) {
    this.#qemu = qemu;
    this.release = release;
    qemu.stdout?.on('data', (chunk: Buffer) => {
      this.#output = (this.#output + chunk.toString('latin1')).slice(-MAX_OUTPUT_BYTES);
      this.#heard();
    });
    qemu.stderr?.on('data', (chunk: Buffer) => (this.#errors = (this.#errors + chunk.toString()).slice(-MAX_OUTPUT_BYTES)));
    qemu.stdin?.on('error', () => undefined); // its end is told by `#ended`
    process.once('exit', this.#kill);
    this.#ended = new Promise((_, reject) => {
      qemu.once('error', reject);
      qemu.once('exit', () => reject(new Error(`the guest ended: ${this.#errors}`)));
    });
    this.#ended.catch(() => undefined); // whoever waits hears of it
  }

  async ready(limitMs = BOOT_LIMIT_MS): Promise<void> {
    await this.#until(/<ready>\n/, limitMs);
  }

  run(line: string, limitMs = LINE_LIMIT_MS): Promise<string> {
    if (line.includes('\n')) throw new RangeError('one line');
    const done = this.#turn.then(async () => {
      this.#qemu.stdin?.write(`${line}\n`);
      const { before, code } = await this.#until(/<end (?<code>\d+)>\n/, limitMs);
      if (code !== '0') throw new Error(`in the guest "${line}" ended with ${code ?? ''}: ${before}`);
      return before;
    });
    this.#turn = done.catch(() => undefined); // it is its caller's to handle
    return done;
  }

  async close(): Promise<void> {
    process.removeListener('exit', this.#kill);
    if (this.#qemu.pid === undefined || this.#qemu.exitCode !== null || this.#qemu.signalCode !== null) return;
    // It has nothing to lose: what it wrote is in its memory.
    this.#kill();
    await this.#ended.catch(() => undefined); // that is the end
  }

  async #until(mark: RegExp, limitMs: number): Promise<{ before: string; code: string | undefined }> {
    let timer: NodeJS.Timeout | undefined;
    const found = new Promise<{ before: string; code: string | undefined }>((resolveFound, reject) => {
      const look = (): void => {
        const match = mark.exec(this.#output);
        if (match === null) return;
        const before = this.#output.slice(0, match.index);
        this.#output = this.#output.slice(match.index + match[0].length);
        resolveFound({ before, code: match.groups?.['code'] });
      };
      this.#heard = look;
      timer = setTimeout(() => {
        reject(new Error(`waited ${limitMs} ms for the guest; it said: ${this.#output}`));
        // What it says later would be taken for the answer to another line.
        this.#kill();
      }, limitMs);
      look();
    });
    try {
      return await Promise.race([found, this.#ended]);
    } finally {
      clearTimeout(timer);
      this.#heard = () => undefined;
    }
  }
}
