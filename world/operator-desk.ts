/** An operator's desk: a reader of this machine, an operator's certificate, and the application server; issues and loads cards. */
import { randomBytes } from 'node:crypto';
import type { Agent } from 'node:https';
import * as v from 'valibot';
import { createOperatorGate } from '#bridge/apdu-gate.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderBackend } from '#bridge/host/backend.ts';
import { connectCardChannel } from '#bridge/host/channel.ts';
import { parsePem } from '#protocol/certificate-pem.ts';
import { createCertificateVerifier, ROLES } from '#protocol/certificates.ts';
import { openContact, type CardContact, type KeyNumber } from '#protocol/card-contact.ts';
import { Failure } from '#protocol/failure.ts';
import type { OperatingPort, OperatorCard, OperatorPorts } from '#protocol/operating.ts';
import { createSigner, jwsSchema, type Jws } from '#protocol/signed.ts';
import { post } from '#servers/shared/http-client.ts';
import { readTlsIdentity } from '#servers/shared/identity-file.ts';
import { loadSigningIdentity } from '#servers/shared/signing-identity.ts';
import { acceptUsage, createTlsAgent } from '#servers/shared/tls-agent.ts';
import type { DeskSettings } from './desk-settings.ts';
import { readText } from './pki-store.ts';

const ROUND_LIMIT_MS = 30_000;
const CARD_WAIT_MS = 60_000;

export interface OperatorDesk {
  readonly ports: OperatorPorts;
  /** Waits for a card on the reader, opens it with this key's challenge, and gives it back afterwards. */
  withCard<T>(keyNumber: KeyNumber, act: (contact: CardContact, card: OperatorCard) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

export async function openOperatorDesk(settings: DeskSettings, backend: ReaderBackend, onTurn?: (turn: number) => void): Promise<OperatorDesk> {
  const [terminal, webRoot, root] = await Promise.all([readTlsIdentity(settings.operatorTerminal), readText(settings.webRoot), readText(settings.root)]);
  if (webRoot === undefined || root === undefined) throw new Error('the trust anchors are missing: start the servers first');
  const agent = createTlsAgent({ ...terminal, trustAnchors: [webRoot], acceptPeer: acceptUsage(ROLES['web-server']) });
  const signer = createSigner(await loadSigningIdentity(settings.operatorSigning));
  const verifier = createCertificateVerifier({ anchors: parsePem('CERTIFICATE', root), now: null });
  const ports: OperatorPorts = {
    operating: operatingPort(settings.applicationOrigin, agent),
    identity: { signer, verifier },
    now: Date.now,
    random: (length) => new Uint8Array(randomBytes(length)),
    ...(onTurn === undefined ? {} : { onTurn }),
  };
  return {
    ports,
    withCard: async (keyNumber, act) => {
      const channel = createOperatorGate(await connectCardChannel(backend, await waitForCard(backend)));
      const card = operatorCard(channel);
      try {
        const phased = { readerName: channel.readerName, onLost: () => undefined, transmit: (_phase: string, commands: Parameters<OperatorCard['transmit']>[0]) => card.transmit(commands), debit: refuseDebit, close: () => channel.close() };
        return await act(await openContact(phased, keyNumber), card);
      } finally {
        await channel.close();
      }
    },
    close: async () => {
      agent.destroy();
      await backend.close();
    },
  };
}

function refuseDebit(): Promise<never> {
  return Promise.reject(new Failure('reader/refused-command', { detail: 'an operator does not pay' }));
}

function operatorCard(channel: CardChannel): OperatorCard {
  const signal = new AbortController().signal;
  return { transmit: (commands) => channel.transmit(commands, signal) };
}

/** Name of the first reader with a card on it. */
function waitForCard(backend: ReaderBackend): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(() => reject(new Failure('card/absent'))), CARD_WAIT_MS);
    const watch = backend.watch(({ readers, problem }) => {
      const reader = readers.find(({ state }) => state === 'present');
      if (reader !== undefined) finish(() => resolve(reader.name));
      else if (problem === 'reader/no-service') finish(() => reject(new Failure('reader/no-service')));
    });
    const finish = (settle: () => void): void => {
      clearTimeout(timer);
      // The first news may come before watch() has returned.
      queueMicrotask(() => watch.stop());
      settle();
    };
  });
}

function operatingPort(origin: string, agent: Agent): OperatingPort {
  const send = async (path: string, message: Jws): Promise<Jws> => {
    const answer = await post({
      url: `${origin}${path}`,
      agent,
      contentType: 'application/jose',
      body: message,
      timeoutMs: ROUND_LIMIT_MS,
      maxAnswerBytes: 64 * 1024,
      unreachable: 'settlement/unreachable',
      untrusted: 'settlement/certificate',
    });
    if (!v.is(jwsSchema, answer.text)) throw new Failure('settlement/unreachable', { detail: `status ${answer.status}` });
    return answer.text;
  };
  return {
    requestIssue: (order) => send('/v1/orders/issue', order),
    requestLoad: (order) => send('/v1/orders/load', order),
    answerCard: (paymentId, answer) => send(`/v1/orders/${paymentId}/answers`, answer),
  };
}
