/** A host as a process of its own behind the browser's port interface: what a browser does when it connects. */
import { spawn, type ChildProcess } from 'node:child_process';
import type { NativePort } from '#bridge/native/port.ts';
import { encodeFrame, FrameReader } from './framing.ts';

export interface HostProcess {
  readonly port: NativePort;
  readonly process: ChildProcess;
  /** Exit code, or the signal's name; `absent` where it could not be started at all. */
  readonly ended: Promise<number | string>;
  /** Bytes on stdout that were no frame end the port; what was wrong is here. */
  readonly strayOutput: () => string | undefined;
  /** What it wrote on stderr, of which the first part is kept. */
  readonly log: () => string;
}

const LOG_LIMIT_CHARACTERS = 64 * 1024;

export function spawnHostProcess([program = '', ...parameters]: readonly string[], environment: Readonly<NodeJS.ProcessEnv>): HostProcess {
  // Node refuses to start a batch file without a shell.
  const shell = program.endsWith('.bat');
  const child = spawn(shell ? `"${program}"` : program, parameters, { env: environment, stdio: ['pipe', 'pipe', 'pipe'], shell, windowsHide: true });
  const frames = new FrameReader();
  const onMessage: ((message: unknown) => void)[] = [];
  const onDisconnect: (() => void)[] = [];
  let stray: string | undefined;
  let log = '';
  child.stdout.on('data', (bytes: Buffer) => {
    try {
      for (const message of frames.push(bytes)) for (const listener of onMessage) listener(message);
    } catch (reason) {
      stray = String(reason);
      child.kill('SIGKILL');
    }
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (log.length < LOG_LIMIT_CHARACTERS) log += text;
  });
  // A write to a host that has just died.
  child.stdin.on('error', () => undefined);
  const ended = new Promise<number | string>((resolve) => {
    const end = (how: number | string) => {
      for (const listener of onDisconnect.splice(0)) listener();
      resolve(how);
    };
    child.once('error', (reason) => {
      log += reason.message;
      end('absent');
    });
    child.once('close', (code, signal) => end(code ?? signal ?? 'unknown'));
  });
  const port: NativePort = {
    postMessage: (message) => void child.stdin.write(encodeFrame(message)),
    disconnect: () => void child.stdin.end(),
    onMessage: { addListener: (listener) => void onMessage.push(listener) },
    onDisconnect: { addListener: (listener) => void onDisconnect.push(listener) },
  };
  return { port, process: child, ended, strayOutput: () => stray, log: () => log };
}
