/** The IC module: command APDU in, response APDU out; answers every input, throws for none, keeps its secrets. */
import { dropSession } from './command.ts';
import { encodeIsoAnswer, ISO_SELECT, selectFile, SW } from './iso-select.ts';
import { concatBytes } from '#protocol/bytes.ts';
import { parseCommandApdu } from './apdu.ts';
import { PROFILES } from './profile.ts';
import { runNativeCommand } from './native-command.ts';
import { secureRandom } from './crypto.ts';
import { STATUS, StatusError } from './status.ts';
import { Transaction } from './transaction.ts';
import { transactionMacFile } from './card-image.ts';
import type { Answer, CardState } from './command.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardMemory } from './card-memory.ts';
import type { ChipEvent } from './chip-event.ts';
import type { CommandApdu } from './apdu.ts';
import type { IsoAnswer } from './iso-select.ts';
import type { Profile } from './profile.ts';
import type { Random } from './crypto.ts';

export interface ChipOptions {
  readonly memory: CardMemory;
  /** Default: that of the image; another one to try what published documents leave open. */
  readonly profile?: Profile;
  /** Nonces and transaction identifiers; default: the platform's secure source. */
  readonly random?: Random;
  /** Hears what happens inside; it can neither delay nor break a command. */
  readonly observer?: (event: ChipEvent) => void;
  /** Epoch milliseconds with fraction. */
  readonly now?: () => number;
}

const CLA_ISO = 0x00;
/** A native command in its ISO wrapping: 90 INS 00 00 [Lc data] 00. */
const CLA_NATIVE = 0x90;
const ADDITIONAL_FRAME = 0xaf;
/** ISO 7816-4: READ BINARY, UPDATE BINARY, READ RECORDS, APPEND RECORD. */
const ISO_FILE_COMMANDS: readonly number[] = [0xb0, 0xd6, 0xb2, 0xe2];

export class Chip {
  readonly #state: CardState;
  #next: Answer['next'];
  #tail: Promise<unknown> = Promise.resolve();

  constructor({ memory, profile = PROFILES[memory.image.profile], random = secureRandom, observer, now = () => performance.timeOrigin + performance.now() }: ChipOptions) {
    this.#state = {
      memory,
      profile,
      random,
      now,
      report: (event) => {
        report(observer, event);
      },
      session: undefined,
      transaction: new Transaction(),
      selected: 'card',
      delays: new WeakMap(),
      receivedAt: 0,
    };
  }

  /** As a PC/SC reader shows it. */
  get atr(): Bytes {
    return new Uint8Array(this.#state.profile.atr);
  }

  get uid(): Bytes {
    return new Uint8Array(this.#state.memory.image.uid);
  }

  /** Answers one command APDU with 2 to 255 bytes. Calls are carried out one after the other. Never rejects. */
  process(command: Uint8Array): Promise<Bytes> {
    const apdu = new Uint8Array(command);
    return this.#inTurn(() => this.#process(apdu));
  }

  /** The field is lost and comes back, after the commands that were under way: session and open transaction are gone, the memory stays, or finds out what became of a commit that was cut. Never rejects. */
  reset(): Promise<void> {
    return this.#inTurn(async () => {
      dropSession(this.#state);
      this.#next = undefined;
      this.#state.selected = 'card';
      this.#state.delays = new WeakMap();
      try {
        await this.#state.memory.powerUp();
      } catch (error) {
        this.#state.report({ kind: 'fault', error });
      }
    });
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tail.then(work);
    this.#tail = turn;
    return turn;
  }

  async #process(command: Bytes): Promise<Bytes> {
    this.#state.receivedAt = this.#state.now();
    const apdu = parseCommandApdu(command);
    const answer = command[0] === CLA_NATIVE ? await this.#native(apdu) : this.#iso(apdu);
    this.#state.report({ kind: 'answered', at: this.#state.now() });
    return answer;
  }

  #iso(apdu: CommandApdu | undefined): Bytes {
    this.#next = undefined;
    try {
      const answer = isoAnswer(this.#state, apdu);
      if (answer.sw !== SW.OK && answer.sw !== SW.LIMITED) dropSession(this.#state);
      return encodeIsoAnswer(answer);
    } catch (error) {
      dropSession(this.#state);
      this.#state.report({ kind: 'fault', error });
      return encodeIsoAnswer({ sw: SW.MEMORY_FAILURE, data: new Uint8Array() });
    }
  }

  async #native(apdu: CommandApdu | undefined): Promise<Bytes> {
    try {
      const { status, data, next } = await this.#frame(apdu);
      this.#next = next;
      return wrap(status, data);
    } catch (error) {
      // Any error ends session and open transaction, and its answer carries neither data nor MAC.
      dropSession(this.#state);
      if (error instanceof StatusError) return wrap(error.status, new Uint8Array());
      this.#state.report({ kind: 'fault', error });
      return wrap(STATUS.MEMORY_ERROR, new Uint8Array());
    }
  }

  #frame(apdu: CommandApdu | undefined): Promise<Answer> {
    const next = this.#next;
    this.#next = undefined;
    if (apdu === undefined || apdu.p1 !== 0 || apdu.p2 !== 0 || apdu.le !== 0) throw new StatusError('LENGTH_ERROR');
    if (apdu.ins === ADDITIONAL_FRAME) {
      if (next === undefined) throw new StatusError('ILLEGAL_COMMAND');
      return next(apdu.data);
    }
    if (next !== undefined && this.#state.profile.onInterruption === 'abort') throw new StatusError('COMMAND_ABORTED');
    return runNativeCommand(this.#state, apdu.ins, apdu.data);
  }
}

function isoAnswer(state: CardState, apdu: CommandApdu | undefined): IsoAnswer {
  const refusal = (sw: IsoAnswer['sw']): IsoAnswer => ({ sw, data: new Uint8Array() });
  if (apdu === undefined) return refusal(SW.WRONG_LENGTH);
  if (apdu.cla !== CLA_ISO) return refusal(SW.WRONG_CLASS);
  if (apdu.ins === ISO_SELECT) return selectFile(state, apdu);
  return refusal(ISO_FILE_COMMANDS.includes(apdu.ins) && hasTransactionMac(state) ? SW.CONDITIONS : SW.WRONG_INSTRUCTION);
}

/** What the ISO commands read and write would escape the transaction MAC: a Light refuses them while it has one. */
function hasTransactionMac({ memory, selected }: CardState): boolean {
  const application = selected === 'card' ? undefined : memory.image.applications[selected];
  return application !== undefined && transactionMacFile(application) !== undefined;
}

function wrap(status: number, data: Bytes): Bytes {
  return concatBytes(data, new Uint8Array([0x91, status]));
}

function report(observer: ChipOptions['observer'], event: ChipEvent): void {
  try {
    observer?.(event);
  } catch (error) {
    // The observer's bug must be loud, but no reason for a card to refuse.
    queueMicrotask(() => {
      throw error;
    });
  }
}
