/** The computer as install and doctor see it: its system, folders and programs. Injected, so that every system's ways are tested on any. */
import { execFile } from 'node:child_process';
import { homedir } from 'node:os';
import { posix, win32 } from 'node:path';
import type { OperatingSystem } from '#bridge/reader-registry.ts';

export type HostSystem = Exclude<OperatingSystem, 'chromeos'>;

export interface ProgramResult {
  /** Undefined: the program is not there, or had to be stopped. */
  readonly exitCode: number | undefined;
  readonly stdout: string;
}

export interface Platform {
  readonly system: HostSystem;
  readonly home: string;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The Node.js that runs us, absolute: the launcher names it. */
  readonly nodePath: string;
  readonly nodeVersion: string;
  /** Undefined on Windows; 0 is root. */
  readonly userId: number | undefined;
  /** Where a path of this system really lies: itself, but for tests. */
  locate(path: string): string;
  /** Runs a program for its output, a few seconds at most; never throws. */
  run(program: string, parameters: readonly string[]): Promise<ProgramResult>;
}

const RUN_LIMIT_MS = 4_000;
const OUTPUT_LIMIT_BYTES = 4 * 1024 * 1024;

export function systemOf(platform: NodeJS.Platform): HostSystem {
  if (platform === 'darwin') return 'macos';
  // The BSDs have Linux's places.
  return platform === 'win32' ? 'windows' : 'linux';
}

export function thisPlatform(): Platform {
  return {
    system: systemOf(process.platform),
    home: homedir(),
    environment: process.env,
    nodePath: process.execPath,
    nodeVersion: process.versions.node,
    userId: process.getuid?.(),
    locate: (path) => path,
    run: (program, parameters) =>
      new Promise((resolve) => {
        execFile(systemProgram(program), [...parameters], { timeout: RUN_LIMIT_MS, maxBuffer: OUTPUT_LIMIT_BYTES, killSignal: 'SIGKILL', windowsHide: true }, (error, stdout) => {
          if (error === null) resolve({ exitCode: 0, stdout });
          else resolve({ exitCode: typeof error.code === 'number' ? error.code : undefined, stdout });
        });
      }),
  };
}

/** Windows looks for a bare name in the present folder first, and a browser chooses that for us. */
function systemProgram(program: string): string {
  if (process.platform !== 'win32' || win32.isAbsolute(program)) return program;
  return win32.join(process.env['SystemRoot'] ?? 'C:\\Windows', 'System32', program);
}

/** The path rules of that system. */
export function pathsOf({ system }: Pick<Platform, 'system'>): typeof posix {
  return system === 'windows' ? win32 : posix;
}
