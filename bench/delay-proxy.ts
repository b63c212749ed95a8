/** A TCP proxy on 127.0.0.1 that puts a round-trip time between a browser and a server: every byte waits half of it in each direction. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

export interface DelayProxy {
  readonly port: number;
  /** For connections made from now on; open ones are ended, so that the next exchange connects anew. */
  setRoundTripMs(roundTripMs: number): void;
  /** Ends every open connection: the next exchange pays for its own. */
  dropConnections(): void;
  /** Accepted since the last call. */
  takeConnectionCount(): number;
  close(): Promise<void>;
}

/** `targetPort`: of the server, on 127.0.0.1. */
export async function startDelayProxy(targetPort: number): Promise<DelayProxy> {
  const sockets = new Set<Socket>();
  let roundTripMs = 0;
  let connections = 0;
  const dropConnections = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const server = createServer((near) => {
    connections += 1;
    const far = connect({ host: '127.0.0.1', port: targetPort });
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      // One side gone is both gone; the browser and the server see an end as any network would give it.
      socket.once('close', () => {
        sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
      socket.on('error', () => undefined);
    }
    // TCP's own handshake was answered by this machine at once: the first bytes wait for the round trip that it would have taken.
    carry(near, far, roundTripMs / 2, roundTripMs);
    carry(far, near, roundTripMs / 2, 0);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve());
  });
  return {
    port: (server.address() as AddressInfo).port,
    setRoundTripMs: (ms) => {
      roundTripMs = ms;
      dropConnections();
    },
    dropConnections,
    takeConnectionCount: () => {
      const count = connections;
      connections = 0;
      return count;
    },
    close: () =>
      new Promise((resolve) => {
        dropConnections();
        server.close(() => resolve());
      }),
  };
}

/** Bytes leave in the order in which they came: each chunk is due `delayMs` after its arrival, and never before the one ahead of it. */
function carry(from: Socket, to: Socket, delayMs: number, handshakeMs: number): void {
  const openAt = performance.now() + handshakeMs;
  let lastDueAt = 0;
  from.on('data', (chunk) => {
    const now = performance.now();
    lastDueAt = Math.max(Math.max(now, openAt) + delayMs, lastDueAt);
    if (lastDueAt <= now) to.write(chunk);
    else setTimeout(() => to.write(chunk), Math.ceil(lastDueAt - now)); // a fraction would fire early
  });
}
