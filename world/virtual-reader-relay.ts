/** Runs inside the private network of a virtual reader: keeps pcscd, and joins each card that connects from outside to vpcd inside. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';

/** From the starter, followed by one listening socket a reader, in order. */
export interface RelayOrder {
  readonly configFolder: string;
  readonly vpcdPorts: readonly number[];
}
export type RelayReport = { readonly kind: 'loaded' } | { readonly kind: 'ready' } | { readonly kind: 'failed'; readonly reason: string };

const PCSCD = '/usr/sbin/pcscd';
const PCSCD_SOCKET = '/run/pcscd/pcscd.comm';
const LOOK_AGAIN_MS = 5;
const START_LIMIT_MS = 15_000;
const TCP_LISTEN = '0A';

let pcscd: ChildProcess | undefined;
let vpcdPorts: readonly number[] = [];
let places = 0;

function report(message: RelayReport): void {
  process.send?.(message);
}

/** Looked up in the kernel's table: a trial connection would be a card. */
function isListening(port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return readFileSync('/proc/self/net/tcp', 'ascii')
    .split('\n')
    .some((line) => {
      const [, address, , state] = line.trim().split(/\s+/);
      return state === TCP_LISTEN && address?.endsWith(local) === true;
    });
}

function startPcscd({ configFolder, vpcdPorts: ports }: RelayOrder): void {
  vpcdPorts = ports;
  // If this process is killed, the kernel ends pcscd.
  pcscd = spawn('setpriv', ['--pdeathsig', 'TERM', '--', PCSCD, '--foreground', '--config', configFolder], { stdio: ['ignore', 'ignore', 'inherit'] });
  pcscd.once('error', (reason) => report({ kind: 'failed', reason: `setpriv: ${reason.message}` }));
  pcscd.once('exit', (code) => {
    report({ kind: 'failed', reason: `pcscd ended with ${String(code)}.` });
    process.disconnect();
  });
  awaitPcscd(performance.now() + START_LIMIT_MS);
}

function awaitPcscd(endsAt: number): void {
  if (existsSync(PCSCD_SOCKET) && vpcdPorts.every(isListening)) report({ kind: 'ready' });
  else if (performance.now() > endsAt) report({ kind: 'failed', reason: 'pcscd does not serve.' });
  else setTimeout(awaitPcscd, LOOK_AGAIN_MS, endsAt);
}

function join(card: Socket, vpcdPort: number): void {
  const reader = connect({ host: '127.0.0.1', port: vpcdPort, noDelay: true });
  card.setNoDelay(true);
  card.pipe(reader);
  reader.pipe(card);
  for (const [one, other] of [[card, reader], [reader, card]] as const) {
    // Lifted, or switched off: the other side sees it by its own closed connection.
    one.on('error', () => other.destroy());
    one.on('close', () => other.destroy());
  }
}

function takePlace(server: Server): void {
  const vpcdPort = vpcdPorts[places++];
  if (vpcdPort === undefined) throw new Error('more places than readers');
  server.on('connection', (card) => {
    join(card, vpcdPort);
    card.resume();
  });
}

process.on('message', (message: RelayOrder | { kind: 'place' }, handle: unknown) => {
  if ('configFolder' in message) startPcscd(message);
  else takePlace(handle as Server);
});
process.on('disconnect', () => {
  const ending = pcscd;
  if (ending?.exitCode !== null || !ending.kill('SIGTERM')) process.exit(0);
  ending.once('exit', () => process.exit(0));
});
report({ kind: 'loaded' });
