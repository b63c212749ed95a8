/** Incoming TLS: an HTTPS server with TLS 1.3 only, whose callers show no certificate, may show one, or must. */
import { constants } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { FAILURES, publicFailure } from '#protocol/failure.ts';
import type { Log } from './log.ts';
import { closeServer, limitConnections, type ConnectionLimits } from './server-limits.ts';
import type { AcceptPeer } from './tls-agent.ts';

export interface TlsServerOptions {
  /** PEM, leaf first. */
  readonly certificate: string;
  readonly key: string;
  /** PEM; they vouch for callers. */
  readonly trustAnchors: readonly string[];
  /** `required`: no handshake without a valid one. `requested`: none is fine, but a bad one is refused. */
  readonly clientCertificates: 'required' | 'requested' | 'none';
  /** Further judgement of a caller's certificate, once a connection; refused callers get `message/certificate`. */
  readonly acceptPeer?: AcceptPeer;
  readonly limits?: Partial<ConnectionLimits>;
  readonly log: Log;
}

export interface TlsServer {
  /** Listens and returns the port; `port: 0` lets the system choose. */
  listen(address: { port: number; host?: string }): Promise<number>;
  /** Ends gracefully: answers in progress have `patienceMs` (default 10 s), idle connections none. */
  close(patienceMs?: number): Promise<void>;
}

/** What we know of the other end of a connection. */
interface Peer {
  readonly der: Buffer | undefined;
  /** True once judged; a promise until then. */
  accepted: boolean | Promise<boolean>;
}

const peers = new WeakMap<object, Peer>();
const ONE_YEAR_SECONDS = 31_536_000;

/** The caller's certificate (DER), verified up to a trust anchor and accepted; undefined if it showed none. */
export function peerCertificate(request: IncomingMessage): Buffer | undefined {
  return peers.get(request.socket)?.der;
}

export function createTlsServer(handler: RequestListener, options: TlsServerOptions): TlsServer {
  const { certificate, key, trustAnchors, clientCertificates, acceptPeer = () => true, log } = options;
  const server = createServer(
    {
      cert: certificate,
      key,
      ca: [...trustAnchors],
      minVersion: 'TLSv1.3',
      requestCert: clientCertificates !== 'none',
      // The one place where this is false: Node then lets a caller without certificate in, and judgePeer() does OpenSSL's part.
      rejectUnauthorized: clientCertificates !== 'requested',
      // No resumption: a resumed connection would live on an old check of the caller's certificate.
      secureOptions: constants.SSL_OP_NO_TICKET,
      handshakeTimeout: options.limits?.headersTimeoutMs ?? 10_000,
    },
    (request, response) => {
      const peer = peers.get(request.socket);
      if (peer?.accepted === true) serve(request, response);
      else void Promise.resolve(peer?.accepted ?? false).then((accepted) => (accepted ? serve(request, response) : refuse(request, response)));
    },
  );
  const serve: RequestListener = (request, response) => {
    addTransportSecurity(request, response);
    handler(request, response);
  };
  server.on('secureConnection', (socket) => {
    const peer: Peer = { der: socket.getPeerX509Certificate()?.raw, accepted: true };
    peers.set(socket, peer);
    peer.accepted = judgePeer(socket, peer.der, acceptPeer, log).then((accepted) => (peer.accepted = accepted));
  });
  // Browsers abort first handshakes as a matter of course: not worth an alarm.
  server.on('tlsClientError', (error) => log.debug({ reason: error.message }, 'handshake failed'));
  limitConnections(server, options.limits);
  return { listen: ({ port, host = '127.0.0.1' }) => listen(server, port, host), close: (patienceMs = 10_000) => closeServer(server, patienceMs) };
}

/**
 * No certificate: accepted (where one is required, the handshake has failed before). A certificate that no trust anchor vouches for, or
 * that has another role, is refused and not taken for none: an expired or foreign certificate would else show up as a stranger's
 * request much later, and an attacker could choose to look like one. It is refused by an HTTP answer, which a person can read.
 */
async function judgePeer(socket: TLSSocket, der: Buffer | undefined, acceptPeer: AcceptPeer, log: Log): Promise<boolean> {
  if (der === undefined) return true;
  try {
    if (socket.authorized && (await acceptPeer(der))) return true;
    log.info({ reason: socket.authorized ? 'role' : String(socket.authorizationError) }, 'certificate of a caller refused');
  } catch (error) {
    log.warn({ err: error }, 'certificate of a caller not judged');
  }
  return false;
}

function refuse(request: IncomingMessage, response: ServerResponse): void {
  addTransportSecurity(request, response);
  const text = JSON.stringify(publicFailure('message/certificate'));
  response.writeHead(FAILURES['message/certificate'].status, { 'Content-Type': 'application/json; charset=utf-8', 'Cache-Control': 'no-store', 'X-Content-Type-Options': 'nosniff', Connection: 'close' });
  response.end(text);
}

/** HSTS (RFC 6797), but not for the bare name `localhost`, which a developer's other programs share. */
function addTransportSecurity(request: IncomingMessage, response: ServerResponse): void {
  if (!/^localhost(:|$)/i.test(request.headers.host ?? '')) response.setHeader('Strict-Transport-Security', `max-age=${ONE_YEAR_SECONDS}`);
}

function listen(server: Server, port: number, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}
