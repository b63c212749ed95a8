/** Limits on a server's connections, and its graceful end. */
import type { Server } from 'node:http';

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** Handshake and headers must be here by then. */
  readonly headersTimeoutMs: number;
  /** The whole request must be here by then. */
  readonly receiveTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = { maxConnections: 1_024, headersTimeoutMs: 10_000, receiveTimeoutMs: 20_000, idleTimeoutMs: 65_000 };

export function limitConnections(server: Server, limits: Partial<ConnectionLimits> = {}): void {
  const { maxConnections, headersTimeoutMs, receiveTimeoutMs, idleTimeoutMs } = { ...CONNECTION_LIMITS, ...limits };
  server.maxConnections = maxConnections;
  server.headersTimeout = headersTimeoutMs;
  server.requestTimeout = receiveTimeoutMs;
  server.keepAliveTimeout = idleTimeoutMs;
  server.maxHeadersCount = 64;
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
    server.closeIdleConnections();
  });
}
