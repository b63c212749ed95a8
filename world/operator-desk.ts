/** An operator's desk: a reader of this machine, an operator's certificate, and the application server. */
import { randomBytes } from 'node:crypto';
import type { Agent } from 'node:https';
import * as v from 'valibot';
import { createOperatorGate } from '#bridge/apdu-gate.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderBackend } from '#bridge/host/backend.ts';
import { connectCardChannel } from '#bridge/host/channel.ts';
import { parsePem } from '#protocol/certificate-pem.ts';
import { createCertificateVerifier, ROLES } from '#protocol/certificates.ts';
import { openBlankContact, openContact, type BlankContact, type CardContact } from '#protocol/card-contact.ts';
import { Failure } from '#protocol/failure.ts';
import type { OperatingPort, OperatorCard, OperatorPorts } from '#protocol/operating.ts';
import type { Card } from '#protocol/parties.ts';
import { createSigner, jwsSchema, type Jws } from '#protocol/signed.ts';
import { post } from '#servers/shared/http-client.ts';
import { readTlsIdentity } from '#servers/shared/identity-file.ts';
import { loadSigningIdentity } from '#servers/shared/signing-identity.ts';
import { acceptUsage, createTlsAgent } from '#servers/shared/tls-agent.ts';
import type { DeskSettings } from './desk-settings.ts';
import { readText } from './pki-store.ts';

const ROUND_LIMIT_MS = 30_000;
/** For a person to put the card down. */
export const CARD_WAIT_MS = 60_000;
/** A reader that is not connected is no matter of putting a card down; a smart-card service that has just been started lists it within this time. */
const READER_WAIT_MS = 5_000;

export interface OperatorDesk {
  readonly ports: OperatorPorts;
  /** Waits for a card on the reader, and gives it back afterwards. Throws `card/absent`, `reader/…`. */
  withCard<T>(act: (card: CardOnDesk) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

/** The card that lies on the desk's reader. */
export interface CardOnDesk {
  readonly card: OperatorCard;
  /** An issued card, with its challenge under key 1. */
  openWallet(): Promise<CardContact>;
  /** A card to be issued. */
  openBlank(): Promise<BlankContact>;
}

export interface DeskOptions {
  /** The reader to use, by its name or a part of it; default: any with a card on it. */
  readonly readerName?: string | undefined;
  readonly onTurn?: (turn: number) => void;
}

export async function openOperatorDesk(settings: DeskSettings, backend: ReaderBackend, { readerName, onTurn }: DeskOptions = {}): Promise<OperatorDesk> {
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
    withCard: async (act) => {
      const channel = createOperatorGate(await connectCardChannel(backend, await waitForCard(backend, readerName)));
      try {
        return await act(onDesk(channel));
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

function onDesk(channel: CardChannel): CardOnDesk {
  const { signal } = new AbortController();
  const transmit = (commands: Parameters<OperatorCard['transmit']>[0]) => channel.transmit(commands, signal);
  // As the flows open a contact: an operator's gate knows no phases.
  const card: Card = {
    readerName: channel.readerName,
    onLost: () => undefined,
    transmit: (_phase, commands) => transmit(commands),
    debit: () => Promise.reject(new Failure('reader/refused-command', { detail: 'an operator does not pay' })),
    close: () => channel.close(),
  };
  return { card: { transmit }, openWallet: () => openContact(card, 1), openBlank: () => openBlankContact(card) };
}

/** Name of the first reader with a card on it, among those that are wanted. */
export function waitForCard(backend: ReaderBackend, wanted: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    let known: readonly string[] = [];
    const finish = (settle: () => void): void => {
      timers.forEach(clearTimeout);
      // The first news may come before watch() has returned.
      queueMicrotask(() => watch.stop());
      settle();
    };
    const fail = (): void => finish(() => reject(nothingThere(known, wanted)));
    const timers = [setTimeout(fail, CARD_WAIT_MS), setTimeout(() => (known.some((name) => isWanted(name, wanted)) ? undefined : fail()), READER_WAIT_MS)];
    const watch = backend.watch(({ readers, problem }) => {
      known = readers.map(({ name }) => name);
      const reader = readers.find(({ name, state }) => state === 'present' && isWanted(name, wanted));
      if (reader !== undefined) finish(() => resolve(reader.name));
      else if (problem === 'reader/no-service') finish(() => reject(new Failure('reader/no-service')));
    });
  });
}

function isWanted(name: string, wanted: string | undefined): boolean {
  return wanted === undefined || name.toLowerCase().includes(wanted.toLowerCase());
}

function nothingThere(known: readonly string[], wanted: string | undefined): Failure {
  const detail = known.length === 0 ? 'no reader is connected' : `readers: ${known.join(', ')}`;
  return new Failure(known.some((name) => isWanted(name, wanted)) ? 'card/absent' : 'reader/none', { detail });
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
    requestOrder: (order) => send('/v1/orders', order),
    answerCard: (paymentId, answer) => send(`/v1/orders/${paymentId}/answers`, answer),
  };
}
