/** Card readers without hardware: a private pcscd with vsmartcard's virtual reader, seen by nobody but who is given its socket, and gone without trace. */
import { spawn, type ChildProcess } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RelayCommand, RelayOrder, RelayReport } from './virtual-reader-relay.ts';

const PROJECT_FOLDER = fileURLToPath(new URL('..', import.meta.url));
const RELAY_FILE = fileURLToPath(new URL('virtual-reader-relay.ts', import.meta.url));
const VPCD_DRIVER = '/usr/lib/pcsc/drivers/serial/libifdvpcd.so';
const FRIENDLY_NAME = 'Kessai Virtual Reader';
/** vpcd makes two slots of each reader, on this port and the next; inside the private network all ports are free. */
const FIRST_VPCD_PORT = 35_963;
const PORTS_PER_READER = 2;
/** sizeof(sun_path) less its final zero: a client's socket name cannot be longer. */
const MAX_SOCKET_NAME_BYTES = 107;
/** Compiled into pcscd; inside the private view of the file system it is the own one's. */
const PCSCD_SOCKET = '/run/pcscd/pcscd.comm';
const START_LIMIT_MS = 20_000;
const STOP_LIMIT_MS = 3_000;

/**
 * pcscd has /run/pcscd compiled in, and vpcd listens on all interfaces: so both get their own view of the file system and of the
 * network. In that network alone, loopback acknowledges at once, because vpcd sends each command in two writes and Nagle's algorithm
 * would hold the second back for the 40 ms of a delayed acknowledgement. Everything dies with the last process in it.
 */
const ENTER_PRIVATE_WORLD = `
mount --bind "$1" /mnt
mount -t tmpfs -o mode=755 kessai-run /run
mkdir /run/pcscd
mount --move /mnt /run/pcscd
ip link set lo up
ip route change local 127.0.0.1 dev lo proto kernel scope host src 127.0.0.1 table local quickack 1
shift
exec "$@"
`;

export interface VirtualReader {
  /** As PC/SC lists them; each has a second, always empty slot beside it, whose name ends in 01. */
  readonly readerNames: readonly string[];
  /** Where a card connects as a TCP client, on 127.0.0.1, in the order of the names. */
  readonly vpcdPorts: readonly number[];
  /** For PCSCLITE_CSOCK_NAME. */
  readonly socketName: string;
  /** What a client of these readers needs in its environment; a browser passes it on to the native host. */
  readonly environment: { readonly PCSCLITE_CSOCK_NAME: string };
  /** The service is killed, and its readers with it; resolves when it is gone. */
  crash(): Promise<void>;
  /** The service and its readers are back, without cards. */
  restart(): Promise<void>;
  /** Ends pcscd and lifts every card; safe to call twice. */
  stop(): Promise<void>;
}

export interface VirtualReaderOptions {
  readonly folder: string;
  readonly readers?: number;
  /** A reader without announcements, as pcscd polls some: a card that is put back within 400 ms may never have been away to it. */
  readonly missesGaps?: boolean;
}

/**
 * Starts `readers` readers (1 unless told otherwise), whose files lie below `folder`. A card that is put on while another lies there, or
 * before pcscd has noted that the last one is gone, waits for that. Needs the packages pcscd and vsmartcard-vpcd, and
 * either root or a kernel that lets users make namespaces; throws an Error that says what is missing.
 */
export async function startVirtualReader({ folder, readers = 1, missesGaps = false }: VirtualReaderOptions): Promise<VirtualReader> {
  const places = await prepareFolders(resolve(folder), readers);
  const servers = await Promise.all(Array.from({ length: readers }, listenOnLoopback));
  const vpcdPorts = servers.map(portOf);
  const readerNames = servers.map((_, index) => `${friendlyName(index, readers)} 00 00`);
  const relay = spawnRelay(places.runFolder);
  const ended = new Promise<void>((done) => relay.once('exit', () => done()));
  const stop = async () => {
    if (relay.connected) relay.disconnect();
    const killer = setTimeout(() => relay.kill('SIGKILL'), STOP_LIMIT_MS);
    await ended;
    clearTimeout(killer);
    if (places.temporary) await rm(places.runFolder, { recursive: true, force: true });
  };
  try {
    await begin(relay, servers, { configFolder: places.configFolder, vpcdPorts: servers.map((_, index) => vpcdPortOf(index)), readerNames, missesGaps });
  } catch (reason) {
    await stop();
    throw reason;
  } finally {
    // From now on the listening sockets are the relay's alone.
    for (const server of servers) server.close();
  }
  const socketName = join(places.runFolder, 'pcscd.comm');
  return {
    readerNames,
    vpcdPorts,
    socketName,
    environment: { PCSCLITE_CSOCK_NAME: socketName },
    crash: () => command(relay, 'crash', 'crashed'),
    restart: () => command(relay, 'restart', 'ready'),
    stop,
  };
}

function command(relay: ChildProcess, kind: RelayCommand['kind'], answer: RelayReport['kind']): Promise<void> {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`The virtual reader did not ${kind} within ${START_LIMIT_MS} ms.`)), START_LIMIT_MS);
    const hear = (report: RelayReport): void => {
      if (report.kind !== answer) return;
      clearTimeout(timer);
      relay.off('message', hear);
      done();
    };
    relay.on('message', hear);
    relay.send({ kind } satisfies RelayCommand);
  });
}

function friendlyName(index: number, readers: number): string {
  return readers === 1 ? FRIENDLY_NAME : `${FRIENDLY_NAME} ${index + 1}`;
}

function vpcdPortOf(index: number): number {
  return FIRST_VPCD_PORT + PORTS_PER_READER * index;
}

interface Places {
  readonly configFolder: string;
  readonly runFolder: string;
  readonly temporary: boolean;
}

async function prepareFolders(folder: string, readers: number): Promise<Places> {
  const configFolder = join(folder, 'readers');
  await rm(configFolder, { recursive: true, force: true });
  await mkdir(configFolder, { recursive: true });
  const entries: string[] = [];
  for (let index = 0; index < readers; index++) {
    // The driver keeps its state in global variables of the library: one copy a reader.
    const driver = join(folder, `libifdvpcd-${index}.so`);
    await copyFile(VPCD_DRIVER, driver).catch((cause: unknown) => {
      throw new Error('The virtual reader needs the packages pcscd and vsmartcard-vpcd: run `npm run prepare-machine`.', { cause });
    });
    entries.push(`FRIENDLYNAME "${friendlyName(index, readers)}"\nDEVICENAME /dev/null:${vpcdPortOf(index)}\nLIBPATH ${driver}\nCHANNELID ${vpcdPortOf(index)}\n`);
  }
  await writeFile(join(configFolder, 'readers'), entries.join('\n'));
  const inFolder = join(folder, 'pcscd');
  const temporary = Buffer.byteLength(join(inFolder, 'pcscd.comm')) > MAX_SOCKET_NAME_BYTES;
  const runFolder = temporary ? await mkdtemp(join(tmpdir(), 'kessai-pcscd-')) : inFolder;
  // What an instance that was killed left behind would be taken for this one's.
  if (!temporary) await rm(runFolder, { recursive: true, force: true });
  await mkdir(runFolder, { recursive: true });
  return { configFolder, runFolder, temporary };
}

function listenOnLoopback(): Promise<Server> {
  return new Promise((done, fail) => {
    const server = createServer({ pauseOnConnect: true });
    server.once('error', fail);
    server.listen(0, '127.0.0.1', () => done(server));
  });
}

function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a server without a port');
  return address.port;
}

function spawnRelay(runFolder: string): ChildProcess {
  const asRoot = process.getuid?.() === 0 ? [] : ['--map-root-user'];
  const relay = [process.execPath, '--import', 'tsx', RELAY_FILE];
  return spawn('unshare', [...asRoot, '--mount', '--net', 'sh', '-e', '-c', ENTER_PRIVATE_WORLD, 'sh', runFolder, ...relay], {
    cwd: PROJECT_FOLDER,
    // The relay asks its own pcscd, whichever one this process is a client of.
    env: { ...process.env, PCSCLITE_CSOCK_NAME: PCSCD_SOCKET },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
}

/** Hands the listening sockets over and waits until pcscd serves. */
function begin(relay: ChildProcess, servers: readonly Server[], order: RelayOrder): Promise<void> {
  let complaint = '';
  relay.stderr?.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2_000);
  });
  return new Promise((done, fail) => {
    const failed = (what: string, cause?: unknown) =>
      fail(new Error(`The virtual reader did not start: ${what} ${complaint}It needs root, or user namespaces (unshare --map-root-user).`, { cause }));
    const timer = setTimeout(() => failed(`nothing after ${START_LIMIT_MS} ms.`), START_LIMIT_MS);
    relay.once('error', (cause) => failed('unshare (package util-linux) cannot be run.', cause));
    relay.once('exit', (code) => failed(`it ended with ${String(code)}.`));
    relay.on('message', (report: RelayReport) => {
      if (report.kind === 'crashed') return;
      if (report.kind === 'loaded') {
        relay.send(order);
        for (const server of servers) relay.send({ kind: 'place' } satisfies RelayCommand, server);
        return;
      }
      clearTimeout(timer);
      if (report.kind === 'ready') done();
      else failed(report.reason);
    });
  });
}
