/** The simulated chip on a reader, for the security server's conversations with it: lifted before or after any command that a test names. */
import type { CardChannel } from '#bridge/card-channel.ts';
import type { CardImage } from '#card-firmware-sim/card-image.ts';
import { VolatileCardMemory } from '#card-firmware-sim/card-memory.ts';
import { Chip } from '#card-firmware-sim/chip.ts';
import { statusWord, type CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { diversifyKey } from '#servers/security/desfire/diversification.ts';
import { CardDialog, type CardTalk } from '#servers/security/issuing/card-dialog.ts';
import { diversificationInput, factoryKey, unknownVersion, type CardKeyStore } from '#servers/security/key-store/key-store.ts';

/** Before the command reaches the card, or after it was carried out and before its answer is there. */
export type Tear = { readonly command: number; readonly when: 'before' | 'after' };

type Transmit = (commands: readonly CardCommand[]) => Promise<Bytes[]>;

export class CardOnReader {
  readonly memory: VolatileCardMemory;
  /** Every command that the chip has answered. */
  readonly seen: Bytes[] = [];
  /** Counts from 1, over all batches since it was set. */
  tear: Tear | undefined;
  #sent = 0;
  #chip: Chip;
  #random = 0;

  constructor(image: CardImage) {
    this.memory = new VolatileCardMemory(image);
    this.#chip = this.#powerUp();
  }

  /** As a channel does: in order, stopping after the first unexpected status, or where the card is lifted. */
  async transmit(commands: readonly CardCommand[]): Promise<Bytes[]> {
    const responses: Bytes[] = [];
    for (const { apdu, expectedStatus } of commands) {
      const tear = ++this.#sent === this.tear?.command ? this.tear.when : undefined;
      if (tear === 'before') return this.#lift(responses);
      const response = await this.#chip.process(apdu);
      this.seen.push(apdu);
      if (tear === 'after') return this.#lift(responses);
      responses.push(response);
      if (statusWord(response) !== expectedStatus) break;
    }
    return responses;
  }

  /** For a gate to stand before. */
  get channel(): CardChannel {
    return { readerName: 'Simulated reader', transmit: (commands) => this.transmit(commands), close: () => Promise.resolve() };
  }

  /** Carries a talk out to its end; rejects with what ends it early. */
  async carryOut<Outcome>(talk: CardTalk<Outcome>, tear?: Tear, transmit: Transmit = (commands) => this.transmit(commands)): Promise<Outcome> {
    this.tearAt(tear);
    const dialog = new CardDialog(talk);
    let round = await dialog.start();
    while ('turn' in round) round = await dialog.next(await transmit(round.turn.commands));
    return round.outcome;
  }

  tearAt(tear: Tear | undefined): void {
    this.#sent = 0;
    this.tear = tear;
  }

  #lift(responses: Bytes[]): Bytes[] {
    this.#chip = this.#powerUp();
    return responses;
  }

  #powerUp(): Chip {
    return new Chip({ memory: this.memory, random: (length) => new Uint8Array(length).fill(++this.#random & 0xff) });
  }
}

/** Before and after the first command, the second, and so on. */
export function* tears(): Generator<Tear> {
  for (let command = 1; ; command++) {
    yield { command, when: 'before' };
    yield { command, when: 'after' };
  }
}

/** Holds versions 1 to `current`; a test raises it. */
export function versionedKeyStore(current = 1): CardKeyStore & { current: number } {
  const store = {
    current,
    currentVersion: () => Promise.resolve(store.current),
    deriveCardKey: (...[uid, purpose, version]: Parameters<CardKeyStore['deriveCardKey']>) => {
      const zero = version === 0 ? factoryKey(purpose) : undefined;
      if (zero === undefined && (version < 1 || version > store.current)) return Promise.reject(unknownVersion(purpose, version));
      return Promise.resolve(zero ?? diversifyKey(new Uint8Array(16).fill(0x30 + version), diversificationInput(uid, purpose)));
    },
  };
  return store;
}

export const codeOf = (act: Promise<unknown>): Promise<string> => act.then(() => 'done', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : Promise.reject(thrown as Error)));
