/** The native-messaging host: started by the browser for the extension, carries commands to the card, and ends when the browser hangs up. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isAllowedCaller, readHostConfig, simReaderPort, type HostConfig } from './config.ts';
import type { ReaderBackend } from './backend.ts';
import { findHostTroubles } from './doctor/host-findings.ts';
import { encodeFrame, FrameReader } from './framing.ts';
import { thisPlatform } from './platform.ts';
import { createHostSession } from './session.ts';
import { takeStandardOutput } from './standard-output.ts';
import { HOST_VERSION } from './version.ts';

const EXIT = { ended: 0, refused: 2, malformed: 3 } as const;

const writeFrame = takeStandardOutput();
const log = (line: string) => process.stderr.write(`kessai-host: ${line}\n`);

function parseArguments(given: readonly string[]): { configPath: string; browserArguments: readonly string[] } {
  const beside = join(dirname(fileURLToPath(import.meta.url)), 'kessai-host.json');
  const [first, second, ...rest] = given;
  return first === '--config' && second !== undefined ? { configPath: second, browserArguments: rest } : { configPath: beside, browserArguments: given };
}

/** PC/SC is loaded only where it is used: a machine without it runs the simulated reader. */
async function openBackend(config: HostConfig): Promise<ReaderBackend> {
  if (config.reader.kind === 'pcsc') return (await import('./pcsc/backend.ts')).createPcscBackend();
  return (await import('./sim/backend.ts')).createSimBackend(simReaderPort(config.reader.port, process.env));
}

async function run(): Promise<void> {
  const { configPath, browserArguments } = parseArguments(process.argv.slice(2));
  const config = readHostConfig(configPath);
  if (!isAllowedCaller(browserArguments, config)) {
    log('the caller is not an extension of this installation');
    process.exit(EXIT.refused);
  }
  const backend = await openBackend(config);
  const session = createHostSession({
    backend,
    version: HOST_VERSION,
    send: (message) => writeFrame(encodeFrame(message)),
    log,
    diagnose: () => findHostTroubles(thisPlatform(), backend),
  });
  const frames = new FrameReader();
  let ending = false;
  const end = async (code: number) => {
    if (ending) return;
    ending = true;
    const { idle } = await session.close();
    // Node waits at exit for its worker threads, and one that a mute card holds never returns.
    if (!idle) process.kill(process.pid, 'SIGKILL');
    process.exit(code);
  };
  process.stdin.on('data', (bytes: Buffer) => {
    if (ending) return;
    try {
      for (const message of frames.push(bytes)) session.receive(message);
    } catch (reason) {
      log(String(reason));
      void end(EXIT.malformed);
    }
  });
  process.stdin.on('error', () => void end(EXIT.ended));
  process.stdin.on('end', () => void end(frames.isBetweenFrames ? EXIT.ended : EXIT.malformed));
  process.stdout.on('error', () => void end(EXIT.ended));
  process.on('SIGTERM', () => void end(EXIT.ended));
}

run().catch((reason: unknown) => {
  log(String(reason));
  process.exit(EXIT.refused);
});
