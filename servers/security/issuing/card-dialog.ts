/** A conversation with a card over several network rounds: one function that yields commands and goes on with their answers. */
import type { CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { PendingAuthentication } from '../desfire/authentication.ts';
import { SW } from '../desfire/instructions.ts';
import { CardRefusal } from '../desfire/refusal.ts';
import type { CardSession } from '../desfire/session.ts';
import { onlyAnswer } from '../layout.ts';

/** `changes`: the card is another one after these commands. */
export interface Turn {
  readonly commands: readonly CardCommand[];
  readonly changes: boolean;
}

/** Answers may be fewer than commands: a batch stops at the first unexpected status word. Any failure ends the talk. */
export type CardTalk<Outcome> = AsyncGenerator<Turn, Outcome, readonly Bytes[]>;

/** A part of a talk that waits for nothing but the card. */
export type CardTurns<Outcome> = Generator<Turn, Outcome, readonly Bytes[]>;

export function ask(commands: readonly CardCommand[]): Turn {
  return { commands, changes: false };
}

export function change(commands: readonly CardCommand[]): Turn {
  return { commands, changes: true };
}

/** Mutual authentication with this key; undefined if the card says that it has another one. Anyone on the way can say so too: it explains, and proves nothing. */
export function* authenticate(authenticationKey: Bytes, challenge: Bytes, random: (length: number) => Bytes): CardTurns<CardSession | undefined> {
  const pending = new PendingAuthentication({ authenticationKey, challenge, hostRandom: random(16) });
  const responses = yield ask([pending.command]);
  try {
    return pending.verify(onlyAnswer(responses));
  } catch (cause) {
    if (cause instanceof CardRefusal && cause.statusWord === SW.AuthenticationError) return undefined;
    throw cause;
  }
}

export type DialogRound<Outcome> = { readonly turn: Turn } | { readonly outcome: Outcome };

/** `start`, then `next` with the answers to each turn until the outcome; every call out of place, also one that comes too early, throws `settlement/session` and the talk is over. */
export class CardDialog<Outcome> {
  readonly #talk: CardTalk<Outcome>;
  #state: 'new' | 'waiting' | 'running' | 'over' = 'new';

  constructor(talk: CardTalk<Outcome>) {
    this.#talk = talk;
  }

  start(): Promise<DialogRound<Outcome>> {
    return this.#advance('new', []);
  }

  next(responses: readonly Bytes[]): Promise<DialogRound<Outcome>> {
    return this.#advance('waiting', responses);
  }

  async #advance(from: 'new' | 'waiting', responses: readonly Bytes[]): Promise<DialogRound<Outcome>> {
    const isInPlace = this.#state === from;
    this.#state = isInPlace ? 'running' : 'over';
    if (!isInPlace) throw over();
    const { done, value } = await this.#talk.next(responses).catch((thrown: unknown) => {
      this.#state = 'over';
      throw thrown;
    });
    if (!this.#isRunning()) throw over();
    this.#state = done === true ? 'over' : 'waiting';
    return done === true ? { outcome: value } : { turn: value };
  }

  /** Asked after a wait: a call out of place may have ended the talk meanwhile. */
  #isRunning(): boolean {
    return this.#state === 'running';
  }
}

function over(): Failure {
  return new Failure('settlement/session', { detail: 'the conversation with the card is over' });
}
