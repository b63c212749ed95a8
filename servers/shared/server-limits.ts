/** Limits on a server's connections, and its graceful end. */
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Handshake and headers must be here by then. */
  readonly headersTimeoutMs: number;
  /** The whole request must be here by then. */
  readonly receiveTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = { maxConnections: 1_024, headersTimeoutMs: 10_000, receiveTimeoutMs: 20_000, idleTimeoutMs: 65_000 };

/** Connections that have not carried a request yet (a browser opens some ahead, a handshake may hang): Node does not count them as idle. */
const unused = new WeakMap<Server, Map<string, Socket>>();

/** Call it once for a server, before it listens. */
export function limitConnections(server: Server, limits: Partial<ConnectionLimits> = {}): void {
  const { maxConnections, headersTimeoutMs, receiveTimeoutMs, idleTimeoutMs } = { ...CONNECTION_LIMITS, ...limits };
  server.maxConnections = maxConnections;
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = receiveTimeoutMs;
  server.keepAliveTimeout = idleTimeoutMs;
  server.maxHeadersCount = 64;
  const waiting = new Map<string, Socket>();
  unused.set(server, waiting);
  server.on('connection', (socket: Socket) => {
    // A TLS connection has two socket objects; the caller's address is what they share.
    const caller = callerOf(socket);
    waiting.set(caller, socket);
    socket.once('close', () => waiting.delete(caller));
  });
  server.on('request', ({ socket }) => waiting.delete(callerOf(socket)));
}

function callerOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress ?? ''} ${remotePort ?? 0}`;
}

/** Takes no more connections, ends idle ones, waits for answers in progress at most `patienceMs`, then cuts them off. */
export function closeServer(server: Server, patienceMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const cutOff = setTimeout(() => server.closeAllConnections(), patienceMs);
    // A connection that was busy becomes idle with its answer: without this it would stay for idleTimeoutMs.
    const sweep = setInterval(() => server.closeIdleConnections(), 50);
    server.close((error) => {
      clearTimeout(cutOff);
      clearInterval(sweep);
      if (error === undefined || (error as NodeJS.ErrnoException).code === 'ERR_SERVER_NOT_RUNNING') resolve();
      else reject(error);
    });
    for (const socket of unused.get(server)?.values() ?? []) socket.destroy();
    server.closeIdleConnections();
  });
}
