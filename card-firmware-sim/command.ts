/** What a native command is to the chip: how it travels, what it does, and the state it works on. */
import { COMM_MODE } from './secure-messaging.ts';
import { StatusError } from './status.ts';
import { Transaction } from './transaction.ts';
import { withApplication } from './card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication, CardKey, CardLevel } from './card-image.ts';
import type { CardMemory } from './card-memory.ts';
import type { ChipEvent } from './chip-event.ts';
import type { CommMode, Messaging } from './secure-messaging.ts';
import type { Profile } from './profile.ts';
import type { Random } from './crypto.ts';

/** A session of either kind: of EV2, or of EV1 with the card's master key of the factory. */
export interface SecureSession {
  readonly keyNo: number;
  /** How long `dataBytes` of a command's data are once protected. */
  wireLength(mode: CommMode, dataBytes: number): number;
  /** The data of a command, verified and deciphered; `lengths`: the least and greatest that it may have. */
  openCommand(mode: CommMode, instruction: number, header: Uint8Array, rest: Uint8Array, lengths: readonly [number, number]): Promise<Bytes>;
  sealResponse(mode: CommMode, status: number, data: Uint8Array): Promise<Bytes>;
}

/** The chip while it has power. */
export interface CardState {
  readonly memory: CardMemory;
  readonly profile: Profile;
  readonly random: Random;
  readonly report: (event: ChipEvent) => void;
  readonly now: () => number;
  session: SecureSession | undefined;
  transaction: Transaction;
  /** The card level, or an application by its place in the image. */
  selected: 'card' | number;
  /** Until when a key takes no authentication (AD). Power lost, the wait begins anew. */
  delays: WeakMap<CardKey, number>;
  /** When the command under way arrived. */
  receivedAt: number;
}

/** Session and open transaction are gone: after any error, a new selection, a field loss. */
export function dropSession(state: CardState): void {
  state.session = undefined;
  state.transaction = new Transaction();
}

/** The application that is selected; 9D at card level. */
export function selectedApplication(state: CardState): CardApplication {
  const application = state.selected === 'card' ? undefined : state.memory.image.applications[state.selected];
  if (application === undefined) throw new StatusError('PERMISSION_DENIED');
  return application;
}

/** Makes the selected application permanent as `changed`, and the card level with it if that has changed too. */
export function commitApplication(state: CardState, changed: CardApplication, picc: CardLevel = state.memory.image.picc): Promise<void> {
  if (state.selected === 'card') throw new StatusError('PERMISSION_DENIED');
  return state.memory.commit({ ...withApplication(state.memory.image, state.selected, changed), picc });
}

export interface Answer {
  readonly status: number;
  readonly data: Bytes;
  /** Takes the next additional frame (AF), and nothing else may come. */
  readonly next?: (payload: Bytes) => Promise<Answer>;
}

/** A command under secure messaging as soon as there is a session. */
export interface SecuredCommand {
  readonly instruction: number;
  /** Whether it also works at card level, outside the application. */
  readonly anywhere?: true;
  /** Whether command and answer may come in several frames (AF). */
  readonly inFrames?: true;
  /** Length of the part that always travels in plain. */
  readonly headerBytes: number;
  /** Least and greatest length of the data after the header, once deciphered. */
  readonly dataBytes?: readonly [min: number, max: number] | ((header: Bytes) => readonly [min: number, max: number]);
  /** How it travels inside a session; without one everything is plain. */
  messaging(state: CardState, header: Bytes): Messaging;
  execute(state: CardState, input: CommandInput): Reply | Promise<Reply>;
}

interface CommandInput {
  readonly instruction: number;
  readonly header: Bytes;
  readonly data: Bytes;
}

interface Reply {
  readonly status?: number;
  readonly data?: Bytes;
  /** Lengths of the frames before the last, for the few commands that answer in several. */
  readonly frameBytes?: readonly number[];
  /** The answer is the last one under its session. */
  readonly endsSession?: true;
}

/** A command with its own protection: the passes of an authentication. */
export interface HandshakeCommand {
  readonly instruction: number;
  begin(state: CardState, payload: Bytes): Promise<Answer>;
}

export type Command = SecuredCommand | HandshakeCommand;

export const PLAIN: Messaging = { request: COMM_MODE.PLAIN, response: COMM_MODE.PLAIN };
export const MAC_BOTH_WAYS: Messaging = { request: COMM_MODE.MAC, response: COMM_MODE.MAC };
export const ENCIPHERED_REQUEST: Messaging = { request: COMM_MODE.FULL, response: COMM_MODE.MAC };
export const ENCIPHERED_RESPONSE: Messaging = { request: COMM_MODE.MAC, response: COMM_MODE.FULL };

/** Number of the master key, at card level and in every application. */
export const CARD_MASTER_KEY = 0;
export const APPLICATION_MASTER_KEY = 0;

/** The session, if it was opened with the master key of the selected level; AE otherwise. */
export function requireMasterSession(state: CardState): SecureSession {
  if (state.session?.keyNo !== APPLICATION_MASTER_KEY) throw new StatusError('AUTHENTICATION_ERROR');
  return state.session;
}
