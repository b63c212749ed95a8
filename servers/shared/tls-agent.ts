/** Outgoing TLS: an HTTPS agent that proves who we are, and lets no byte out before the other side has proved who it is. */
import { X509Certificate } from 'node:crypto';
import { lookup as systemLookup } from 'node:dns';
import { Agent, type RequestOptions } from 'node:https';
import type { LookupFunction } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';

/** Judges the certificate (DER) of a peer whose chain leads to a trust anchor already: has it the role that is expected here? */
export type AcceptPeer = (der: Buffer) => boolean | Promise<boolean>;

/** The peer's certificate is valid, but not for the role that it has to play. */
export class PeerRefused extends Error {
  override readonly name = 'PeerRefused';
}

/**
 * Accepts certificates that carry one of these extended key usages (OIDs). It looks at the leaf alone: under an anchor whose
 * authorities may give different roles, judge by `createPeerJudge` (protocol/certificate-peer.ts) instead.
 */
export function acceptUsage(...usages: readonly string[]): AcceptPeer {
  return (der) => (new X509Certificate(der).keyUsage as readonly string[] | undefined)?.some((usage) => usages.includes(usage)) ?? false;
}

export interface TlsAgentOptions {
  /** PEM, leaf first. */
  readonly certificate?: string;
  readonly key?: string;
  /** PEM; nothing else is trusted, in particular not the system's list. */
  readonly trustAnchors: readonly string[];
  readonly acceptPeer?: AcceptPeer;
  readonly maxSockets?: number;
  /** Name resolution, TCP and TLS. */
  readonly connectTimeoutMs?: number;
  /** Resolves names other than `*.localhost`. */
  readonly lookup?: LookupFunction;
}

/** Less than any server of ours keeps an idle connection, so that we never write into one that is being closed. */
const IDLE_TIMEOUT_MS = 30_000;

/** A keep-alive agent for node:https; TLS 1.3 only. Requests through it fail with PeerRefused or OpenSSL's verification error. */
export function createTlsAgent(options: TlsAgentOptions): Agent {
  return new VerifyingAgent(options);
}

class VerifyingAgent extends Agent {
  readonly #options: TlsAgentOptions;

  constructor(options: TlsAgentOptions) {
    const { certificate, key, trustAnchors, maxSockets = 32, lookup = systemLookup } = options;
    super({
      keepAlive: true,
      maxSockets,
      maxFreeSockets: 8,
      timeout: IDLE_TIMEOUT_MS,
      // A resumed session skips the check of the server's name (Node, lib/_tls_wrap.js): none is kept.
      maxCachedSessions: 0,
      minVersion: 'TLSv1.3',
      rejectUnauthorized: true,
      ca: [...trustAnchors],
      ...(certificate === undefined ? {} : { cert: certificate }),
      ...(key === undefined ? {} : { key }),
      lookup: lookupLocalhost(lookup),
    });
    this.#options = options;
  }

  override createConnection(options: RequestOptions, callback?: (error: Error | null, stream: Duplex) => void): undefined {
    const { acceptPeer = () => true, connectTimeoutMs = 5_000 } = this.#options;
    const socket = connect(options as Parameters<typeof connect>[0]);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      callback?.(error, socket);
    };
    const timer = setTimeout(() => fail(new Error(`no TLS connection within ${connectTimeoutMs} ms`)), connectTimeoutMs);
    socket.once('error', fail);
    socket.once('secureConnect', () => {
      judge(socket, acceptPeer).then(
        () => {
          clearTimeout(timer);
          socket.off('error', fail);
          callback?.(null, socket);
        },
        (error: unknown) => fail(error instanceof Error ? error : new PeerRefused('peer not judged', { cause: error })),
      );
    });
  }
}

async function judge(socket: TLSSocket, acceptPeer: AcceptPeer): Promise<void> {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined || !(await acceptPeer(certificate.raw))) throw new PeerRefused('the peer has no certificate for its role');
}

/** RFC 6761, 6.3: `localhost` and every name below it are this machine; Node asks the system, which on Debian 12 does not know. */
function lookupLocalhost(others: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    if (!/^(.+\.)?localhost\.?$/i.test(hostname)) {
      others(hostname, options, callback);
      return;
    }
    if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }]);
    else callback(null, '127.0.0.1', 4);
  };
}
