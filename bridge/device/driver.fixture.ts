/** A driver whose reader, and the card on it, the test moves. */
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import { Failure, type FailureCode } from '#protocol/failure.ts';
import { answerOfContractCard } from '../card-channel.contract.ts';
import type { CardInField, ReaderDriver } from './reader-driver.ts';

export class ScriptedDriver implements ReaderDriver {
  readonly readerName: string;
  readonly commands: string[] = [];
  /** Everything that was asked of the driver but commands, in order. */
  readonly calls: string[] = [];
  cardThere = true;
  /** Fails the next opening, the next search, or the next look at the card. */
  openFailure: FailureCode | undefined;
  findFailure: FailureCode | undefined;
  presenceFailure: FailureCode | undefined;
  unplugged = false;
  /** A release takes until this is settled. */
  releasing: Promise<void> = Promise.resolve();
  #running = 0;
  #breakOff: (failure: Failure) => void = () => undefined;

  constructor(readerName = 'Reader') {
    this.readerName = readerName;
  }

  open(): Promise<void> {
    this.calls.push('open');
    const failure = this.unplugged ? 'reader/failed' : this.openFailure;
    return failure === undefined ? Promise.resolve() : Promise.reject(new Failure(failure));
  }

  findCard(): Promise<CardInField | undefined> {
    return this.#alone(() => {
      if (this.unplugged) throw new Failure('reader/failed');
      if (this.findFailure !== undefined) throw new Failure(this.findFailure);
      return this.cardThere ? this.#card() : undefined;
    });
  }

  close(): Promise<void> {
    this.calls.push('close');
    this.#breakOff(new Failure('reader/failed'));
    return Promise.resolve();
  }

  #card(): CardInField {
    return {
      uid: Uint8Array.of(4, 1, 2, 3, 4, 5, 6),
      transceive: (command, limitMs) => this.#alone(() => this.#answer(command, limitMs)),
      isPresent: () =>
        this.#alone(() => {
          if (this.presenceFailure !== undefined) throw new Failure(this.presenceFailure);
          return this.cardThere;
        }),
      release: () => {
        this.calls.push('release');
        return this.releasing;
      },
    };
  }

  #answer(command: Bytes, limitMs: number): Promise<Bytes> | Bytes {
    if (this.unplugged) throw new Failure('reader/failed');
    if (!this.cardThere) throw new Failure('card/removed');
    this.commands.push(encodeHex(command));
    const answer = answerOfContractCard(command);
    if (answer === 'tear') {
      this.cardThere = false;
      throw new Failure('card/removed');
    }
    if (answer !== 'mute') return answer;
    return new Promise((_, reject) => {
      const timer = setTimeout(() => reject(new Failure('card/silent')), limitMs);
      this.#breakOff = (failure) => {
        clearTimeout(timer);
        reject(failure);
      };
    });
  }

  /** Drivers are asked one thing at a time: two at once is a fault of what is under test. */
  async #alone<T>(act: () => T | Promise<T>): Promise<T> {
    if (this.#running > 0) throw new Error('two calls of one driver at once');
    this.#running++;
    try {
      return await act();
    } finally {
      this.#running--;
    }
  }
}
