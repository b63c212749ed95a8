/** A virtual reader inside the host, for machines without PC/SC: the simulated card connects over TCP and speaks the vpcd protocol, as it does to pcscd. */
import { createServer, type Server, type Socket } from 'node:net';
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { ReaderList } from '#bridge/native/messages.ts';
import type { ReaderInfo } from '#bridge/reader-source.ts';
import type { CardConnection, ReaderBackend } from '../backend.ts';
import { VpcdCard } from './vpcd-card.ts';

export const SIM_READER_NAME = 'Kessai Simulated Reader';
/** While another host holds the port, it is tried again this often. */
const LISTEN_AGAIN_MS = 300;
const ATR_LIMIT_MS = 2_000;
const CLOSE_LIMIT_MS = 500;

/** Listens on 127.0.0.1 at `port` from the first watch or connect on; one card at a time, as on a desk. */
export function createSimBackend(port: number): ReaderBackend {
  return new SimBackend(port);
}

class SimBackend implements ReaderBackend {
  readonly name = 'sim';
  readonly #port: number;
  #server: Server | undefined;
  #state: 'closed' | 'opening' | 'listening' | 'taken' = 'closed';
  #retry: NodeJS.Timeout | undefined;
  #card: VpcdCard | undefined;
  /** Known once the card has been powered up. */
  #atr: Bytes | undefined;
  #mute = false;
  #connection: SimConnection | undefined;
  readonly #listeners = new Set<(list: ReaderList) => void>();
  #opened: Promise<void> | undefined;

  constructor(port: number) {
    this.#port = port;
  }

  watch(onChange: (list: ReaderList) => void): { stop(): void } {
    this.#listeners.add(onChange);
    void this.#open().then(() => onChange(this.#list()));
    return { stop: () => void this.#listeners.delete(onChange) };
  }

  async connect(readerName: string): Promise<CardConnection> {
    if (readerName !== SIM_READER_NAME) throw new Failure('reader/none', { detail: readerName });
    await this.#open();
    if (this.#state === 'taken' || this.#connection?.isOpen === true) throw new Failure('reader/in-use');
    if (this.#mute) throw new Failure('card/silent');
    if (this.#card === undefined || this.#atr === undefined) throw new Failure('card/absent');
    this.#connection = new SimConnection(this.#card, this.#atr);
    return this.#connection;
  }

  async close(): Promise<{ idle: boolean }> {
    clearTimeout(this.#retry);
    this.#listeners.clear();
    await this.#connection?.close();
    this.#card?.eject();
    const server = this.#server;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
    return { idle: true };
  }

  /** Resolves once the port is ours or known to be another's. */
  #open(): Promise<void> {
    this.#opened ??= this.#listen();
    return this.#opened;
  }

  #listen(): Promise<void> {
    this.#state = 'opening';
    return new Promise((resolve) => {
      const server = createServer({ noDelay: true }, (socket) => this.#insert(socket));
      this.#server = server;
      server.once('error', () => {
        this.#server = undefined;
        this.#state = 'taken';
        this.#retry = setTimeout(() => void this.#listen().then(() => this.#report()), LISTEN_AGAIN_MS);
        resolve();
      });
      server.listen(this.#port, '127.0.0.1', () => {
        this.#state = 'listening';
        resolve();
      });
    });
  }

  #insert(socket: Socket): void {
    // One place on the reader: a second card is turned away until the first is lifted.
    if (this.#card !== undefined) {
      socket.destroy();
      return;
    }
    const card = new VpcdCard(socket);
    this.#card = card;
    card.onceLost(() => {
      this.#card = undefined;
      this.#atr = undefined;
      this.#mute = false;
      this.#report();
    });
    card.powerUp(ATR_LIMIT_MS).then(
      (atr) => {
        this.#atr = atr;
        this.#report();
      },
      () => {
        // Something is connected that does not answer as a card: said so, and left there to be lifted.
        this.#mute = true;
        this.#report();
      },
    );
  }

  #report(): void {
    const list = this.#list();
    for (const listener of this.#listeners) listener(list);
  }

  #list(): ReaderList {
    return { readers: [this.#reader()] };
  }

  #reader(): ReaderInfo {
    const name = SIM_READER_NAME;
    if (this.#state === 'taken') return { name, state: 'in-use' };
    if (this.#mute) return { name, state: 'mute' };
    if (this.#atr === undefined) return { name, state: 'empty' };
    return { name, state: 'present', atr: encodeHex(this.#atr) };
  }
}

class SimConnection implements CardConnection {
  readonly atr: Bytes;
  readonly #card: VpcdCard;
  isOpen = true;

  constructor(card: VpcdCard, atr: Bytes) {
    this.#card = card;
    this.atr = atr;
  }

  async transmit(apdu: Bytes, timeoutMs: number): Promise<Bytes> {
    if (!this.isOpen) throw new Failure('card/removed', { detail: 'the connection is over' });
    try {
      const response = await this.#card.exchange(apdu, timeoutMs);
      if (response.length < 2) throw new Failure('card/removed', { detail: `an answer of ${response.length} bytes` });
      return response;
    } catch (reason) {
      this.isOpen = false;
      // An answer that comes after its time would be taken for the next command's: this card has to be put on again.
      this.#card.eject();
      throw reason;
    }
  }

  async close(): Promise<void> {
    if (!this.isOpen) return;
    this.isOpen = false;
    await this.#card.reset(CLOSE_LIMIT_MS);
  }
}
