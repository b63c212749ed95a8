/** One authenticated session with a card: counts commands made ahead, opens their answers in order, and is dead after the first thing that is not as it should be. */
import { strict as assert } from 'node:assert';
import type { CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { openAnswer, sealCommand, type AnswerProtection, type NativeCommand, type SessionKeys } from './secure-messaging.ts';

/** CmdCtr may not reach this: the card then answers every command as if its MAC were wrong. */
const MAX_COUNTER = 0xffff;

/** A command of the card and how its answer is protected and read. */
export interface TypedCommand<T> extends NativeCommand {
  readonly answer: AnswerProtection;
  /** Plain answer data to a value; throws Failure `card/answer`. */
  readonly parse: (data: Bytes) => T;
}

/** A command at its own place in its own session, ready to leave, with what it takes to open its answer. */
export interface SealedCommand<T> {
  readonly command: CardCommand;
  /** CmdCtr before this command. */
  readonly counter: number;
  /** Verifies and deciphers, whatever has become of the session since; throws as `openAnswer` does. */
  open(response: Bytes): T;
}

class CommandInPlace<T> implements SealedCommand<T> {
  readonly command: CardCommand;
  readonly counter: number;
  readonly #keys: SessionKeys;
  readonly #typed: TypedCommand<T>;

  constructor(keys: SessionKeys, counter: number, typed: TypedCommand<T>) {
    this.command = sealCommand(keys, counter, typed);
    this.counter = counter;
    this.#keys = keys;
    this.#typed = typed;
  }

  open(response: Bytes): T {
    return this.#typed.parse(openAnswer(this.#keys, this.counter, this.#typed.answer, response));
  }
}

type Answers<Batch extends readonly SealedCommand<unknown>[]> = {
  [Place in keyof Batch]: Batch[Place] extends SealedCommand<infer T> ? T : never;
};

export class CardSession {
  #keys: SessionKeys | undefined;
  #nextCommand = 0;
  #nextAnswer = 0;

  constructor(keys: SessionKeys) {
    this.#keys = keys;
  }

  get isAlive(): boolean {
    return this.#keys !== undefined;
  }

  /** Forgets the session keys; commands that were sealed before can still be opened one by one. */
  end(): void {
    this.#keys = undefined;
  }

  /** Computes a command ahead, before the answers to earlier ones are seen. Throws `settlement/session` when dead. */
  seal<T>(command: TypedCommand<T>): SealedCommand<T> {
    const keys = this.#keys;
    if (keys === undefined) throw new Failure('settlement/session', { detail: 'the session with the card is over' });
    if (this.#nextCommand >= MAX_COUNTER) throw this.#fail(new Failure('settlement/session', { detail: 'command counter exhausted' }));
    return new CommandInPlace(keys, this.#nextCommand++, command);
  }

  /**
   * Opens the answers to a batch in order. Throws, and the session is dead: CardRefusal (an error status; all later
   * answers are without meaning), `card/answer` (bad MAC or content), `card/removed` (fewer answers than commands),
   * `message/malformed` (more answers than commands), `settlement/session` (dead before).
   */
  openBatch<const Batch extends readonly SealedCommand<unknown>[]>(batch: Batch, responses: readonly Bytes[]): Answers<Batch> {
    if (!this.isAlive) throw new Failure('settlement/session', { detail: 'the session with the card is over' });
    try {
      if (responses.length > batch.length) throw new Failure('message/malformed', { detail: 'more answers than commands' });
      const answers = batch.map((sealed, place) => {
        assert.equal(sealed.counter, this.#nextAnswer, 'answers are opened in the order of their commands');
        const response = responses[place];
        if (response === undefined) throw new Failure('card/removed', { detail: `no answer to command ${place + 1} of ${batch.length}` });
        this.#nextAnswer++;
        return sealed.open(response);
      });
      return answers as Answers<Batch>;
    } catch (cause) {
      throw this.#fail(cause);
    }
  }

  #fail(cause: unknown): unknown {
    this.end();
    return cause;
  }
}

export function commandsOf(batch: readonly SealedCommand<unknown>[]): readonly CardCommand[] {
  return batch.map((sealed) => sealed.command);
}
