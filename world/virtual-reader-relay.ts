/** Runs inside the private network of a virtual reader: keeps pcscd, and joins each card that connects from outside to vpcd inside. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';
import { untilNotedEmpty } from './virtual-reader-gap.ts';

/** From the starter, followed by one listening socket a reader, in order. */
export interface RelayOrder {
  readonly configFolder: string;
  readonly vpcdPorts: readonly number[];
  readonly readerNames: readonly string[];
  readonly missesGaps: boolean;
}
/** `place`: comes with a listening socket. `crash`: the service and its readers are gone from one moment to the next; `restart`: they are back. */
export type RelayCommand = { readonly kind: 'place' | 'crash' | 'restart' };
export type RelayReport = { readonly kind: 'loaded' } | { readonly kind: 'ready' } | { readonly kind: 'crashed' } | { readonly kind: 'failed'; readonly reason: string };

const PCSCD = '/usr/sbin/pcscd';
const PCSCD_SOCKET = '/run/pcscd/pcscd.comm';
const LOOK_AGAIN_MS = 5;
const START_LIMIT_MS = 15_000;
const TCP_LISTEN = '0A';

let pcscd: ChildProcess | undefined;
/** The service was ended on order: its end is no failure. */
let crashed = false;
let order: RelayOrder = { configFolder: '', vpcdPorts: [], readerNames: [], missesGaps: false };
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

function startPcscd(): void {
  const { configFolder } = order;
  // If this process is killed, the kernel ends pcscd.
  pcscd = spawn('setpriv', ['--pdeathsig', 'TERM', '--', PCSCD, '--foreground', '--config', configFolder], { stdio: ['ignore', 'ignore', 'inherit'] });
  pcscd.once('error', (reason) => report({ kind: 'failed', reason: `setpriv: ${reason.message}` }));
  pcscd.once('exit', (code) => {
    if (crashed) {
      report({ kind: 'crashed' });
      return;
    }
    report({ kind: 'failed', reason: `pcscd ended with ${String(code)}.` });
    process.disconnect();
  });
  awaitPcscd(performance.now() + START_LIMIT_MS);
}

function awaitPcscd(endsAt: number): void {
  if (existsSync(PCSCD_SOCKET) && order.vpcdPorts.every(isListening)) void reportReady();
  else if (performance.now() > endsAt) report({ kind: 'failed', reason: 'pcscd does not serve.' });
  else setTimeout(awaitPcscd, LOOK_AGAIN_MS, endsAt);
}

/** A card is let in only after pcscd has seen each reader without one: what its counts mean rests on that. */
async function reportReady(): Promise<void> {
  try {
    await Promise.all(order.readerNames.map(untilNotedEmpty));
    report({ kind: 'ready' });
  } catch (reason) {
    report({ kind: 'failed', reason: String(reason) });
  }
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

/**
 * vpcd is only polled, and would put a waiting card in the place of a lifted one before pcscd has looked. A hand is slower, and other
 * readers announce a removal; so each card waits for the one before it to be gone and for pcscd to have noted that.
 */
async function letIn(card: Socket, before: Promise<void>, reader: string, vpcdPort: number): Promise<void> {
  // A card speaks only when spoken to, so nothing is lost by reading: its closing is seen.
  card.on('error', () => card.destroy());
  card.resume();
  await before;
  if (!card.destroyed && !order.missesGaps) await untilNotedEmpty(reader);
  if (!card.destroyed) join(card, vpcdPort);
}

function takePlace(server: Server): void {
  const place = places++;
  const vpcdPort = order.vpcdPorts[place];
  const reader = order.readerNames[place];
  if (vpcdPort === undefined || reader === undefined) throw new Error('more places than readers');
  let before = Promise.resolve();
  server.on('connection', (card) => {
    const earlier = before;
    const closed = new Promise<void>((resolve) => card.once('close', () => resolve()));
    before = Promise.all([earlier, closed]).then(() => undefined);
    letIn(card, earlier, reader, vpcdPort).catch((reason: unknown) => {
      process.stderr.write(`${String(reason)}\n`);
      card.destroy();
    });
  });
}

process.on('message', (message: RelayOrder | RelayCommand, handle: unknown) => {
  if ('configFolder' in message) {
    order = message;
    startPcscd();
  } else if (message.kind === 'place') takePlace(handle as Server);
  else if (message.kind === 'crash') {
    crashed = true;
    pcscd?.kill('SIGKILL');
  } else {
    crashed = false;
    // A service that was killed leaves its socket behind, which would pass for the new one's.
    rmSync(PCSCD_SOCKET, { force: true });
    startPcscd();
  }
});
process.on('disconnect', () => {
  const ending = pcscd;
  if (ending?.exitCode !== null || !ending.kill('SIGTERM')) process.exit(0);
  ending.once('exit', () => process.exit(0));
});
report({ kind: 'loaded' });
