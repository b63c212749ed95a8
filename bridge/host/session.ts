/** One conversation with the extension: requests in, answers and reader news out. Carries bytes, repeats nothing, and answers every request once. */
import * as v from 'valibot';
import { isShortCommand } from '#protocol/apdu.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { asFailure, Failure, type FailureCode } from '#protocol/failure.ts';
import type { Finding } from '#bridge/doctor-findings.ts';
import { MAX_CHANNELS, NATIVE_PROTOCOL_VERSION, RequestSchema, type HelloResult, type HostMessage, type ReaderList, type Request, type TransmitRequest } from '#bridge/native/messages.ts';
import type { CardConnection, ReaderBackend } from './backend.ts';
import { exchangeBatch } from './batch.ts';

export interface HostSession {
  /** Handles one message. Throws Failure `host/malformed` on one that is no request of ours: the host then ends. */
  receive(message: unknown): void;
  /** Gives every card back; resolves to whether the process can end by itself. */
  close(): Promise<{ idle: boolean }>;
}

interface Channel {
  readonly connection: CardConnection;
  busy: boolean;
}

/** A batch that ended early: the answers so far travel with the code. */
class BatchFailure extends Failure {
  readonly responses: readonly string[];

  constructor(code: FailureCode, responses: readonly string[], cause: unknown) {
    super(code, { cause });
    this.responses = responses;
  }
}

interface SessionOptions {
  readonly backend: ReaderBackend;
  readonly version: string;
  /** Puts one message on the wire. */
  readonly send: (message: HostMessage) => void;
  /** Takes a line for stderr that holds no card data. */
  readonly log: (line: string) => void;
  /** What the extension may be told about service, readers, drivers and permissions. */
  readonly diagnose: () => Promise<readonly Finding[]>;
}

export function createHostSession(options: SessionOptions): HostSession {
  return new Session(options);
}

class Session implements HostSession {
  readonly #backend: ReaderBackend;
  readonly #version: string;
  readonly #send: (message: HostMessage) => void;
  readonly #log: (line: string) => void;
  readonly #diagnose: () => Promise<readonly Finding[]>;
  #diagnosis: Promise<{ findings: readonly Finding[] }> | undefined;
  readonly #channels = new Map<number, Channel>();
  #connecting = 0;
  #lastChannel = 0;
  #watching = false;

  constructor({ backend, version, send, log, diagnose }: SessionOptions) {
    this.#backend = backend;
    this.#version = version;
    this.#send = send;
    this.#log = log;
    this.#diagnose = diagnose;
  }

  receive(message: unknown): void {
    const parsed = v.safeParse(RequestSchema, message);
    if (!parsed.success) throw new Failure('host/malformed', { detail: 'not a request' });
    void this.#answer(parsed.output);
  }

  close(): Promise<{ idle: boolean }> {
    return this.#backend.close();
  }

  async #answer(request: Request): Promise<void> {
    try {
      this.#send({ id: request.id, ok: await this.#perform(request) });
    } catch (reason) {
      const failure = asFailure(reason);
      // Only the code leaves; what a driver said stays in our log.
      this.#log(`${request.op}: ${failure.message}${failure.code === 'internal/bug' ? ` ${String(failure.cause)}` : ''}`);
      this.#send({ id: request.id, error: { code: failure.code, ...(failure instanceof BatchFailure ? { responses: [...failure.responses] } : {}) } });
    }
  }

  #perform(request: Request): Promise<unknown> {
    switch (request.op) {
      case 'hello':
        return this.#hello();
      case 'watch':
        return this.#watch();
      case 'connect':
        return this.#connect(request.reader);
      case 'transmit':
        return this.#transmit(request);
      case 'disconnect':
        return this.#disconnect(request.channel);
      case 'diagnose':
        return this.#look();
    }
  }

  // Answers with our version even to a peer of another: it is the peer that must say which of the two to update.
  #hello(): Promise<HelloResult> {
    return Promise.resolve({ version: this.#version, protocol: NATIVE_PROTOCOL_VERSION, platform: process.platform, backends: [this.#backend.name] });
  }

  #watch(): Promise<ReaderList> {
    if (this.#watching) return Promise.reject(new Failure('host/malformed', { detail: 'watching already' }));
    this.#watching = true;
    return new Promise((resolve) => {
      let first = true;
      this.#backend.watch((list) => {
        if (first) resolve(list);
        else this.#send({ event: 'readers', ...list });
        first = false;
      });
    });
  }

  async #connect(reader: string): Promise<{ channel: number; atr: string }> {
    if (this.#channels.size + this.#connecting >= MAX_CHANNELS) throw new Failure('reader/in-use', { detail: 'too many channels' });
    this.#connecting++;
    try {
      const connection = await this.#backend.connect(reader);
      const channel = ++this.#lastChannel;
      this.#channels.set(channel, { connection, busy: false });
      return { channel, atr: encodeHex(connection.atr) };
    } finally {
      this.#connecting--;
    }
  }

  async #transmit({ channel: id, commands, timeoutMs }: TransmitRequest): Promise<{ responses: string[] }> {
    const channel = this.#channels.get(id);
    if (channel === undefined) throw new Failure('card/removed', { detail: 'no such channel' });
    if (channel.busy) throw new Failure('host/malformed', { detail: 'a batch is under way on this channel' });
    const batch = commands.map(({ apdu, expect }) => ({ apdu: parseHex(apdu), expectedStatus: Number.parseInt(expect, 16) }));
    // The whole batch is looked at before any of it is sent.
    if (!batch.every(({ apdu }) => isShortCommand(apdu))) throw new Failure('host/malformed', { detail: 'not a short command' });
    channel.busy = true;
    const responses: string[] = [];
    try {
      await exchangeBatch(channel.connection, batch, timeoutMs, (response) => responses.push(encodeHex(response)));
    } catch (reason) {
      this.#channels.delete(id);
      void channel.connection.close();
      throw new BatchFailure(asFailure(reason).code, responses, reason);
    } finally {
      channel.busy = false;
    }
    return { responses };
  }

  /** Several that ask at once share one look: it starts programs. */
  #look(): Promise<{ findings: readonly Finding[] }> {
    this.#diagnosis ??= this.#diagnose()
      .then((findings) => ({ findings }))
      .finally(() => (this.#diagnosis = undefined));
    return this.#diagnosis;
  }

  async #disconnect(id: number): Promise<object> {
    const channel = this.#channels.get(id);
    this.#channels.delete(id);
    await channel?.connection.close();
    return {};
  }
}
