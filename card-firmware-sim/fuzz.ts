/** Malformed commands without end: sends them to a chip, alone and in the middle of live sessions, and watches that it neither throws nor hangs nor changes what it keeps. */
import { apdu, COMMAND_KINDS, FIXED_RANDOM, FuzzSession, HARMLESS, INSTRUCTIONS } from './fuzz-session.ts';
import { Chip } from './chip.ts';
import { concatBytes, encodeHex } from '#protocol/bytes.ts';
import { createFactoryImage } from './factory-image.ts';
import { VolatileCardMemory } from './card-memory.ts';
import { WALLET_NAME } from './card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardImage } from './card-image.ts';
import type { ProfileName } from './profile.ts';

export interface FuzzOptions {
  /** How many malformed commands. */
  readonly count: number;
  /** The same seed sends the same bytes. 0 to 2^32 - 1. */
  readonly seed: number;
  /** Now and then, with how many have been sent. */
  readonly onProgress?: (done: number) => void;
}

export interface FuzzFinding {
  readonly what: string;
  /** Which of the malformed commands, from 0. */
  readonly at: number;
  readonly apdu: string;
}

export interface FuzzReport {
  readonly count: number;
  readonly seed: number;
  /** How often each status word came. */
  readonly answers: Readonly<Record<string, number>>;
  readonly finding: FuzzFinding | undefined;
}

/** Each batch has a card of its own. */
const BATCH_APDUS = 1000;
/** For a batch, which takes far less than a second. */
const BATCH_LIMIT_MS = 60_000;
const MAX_ANSWER_BYTES = 255;
const MAX_COMMAND_BYTES = 300;
/** Which cards are tried in turn: most of them personalised. */
const CARDS: readonly (() => CardImage)[] = [personalisedLight, personalisedLight, () => personalisedFree('ev3'), () => blank('ev2'), personalisedLight, personalisedLight, () => personalisedFree('ev2'), () => blank('ev3')];

/** Stops at the first finding. */
export async function fuzzChip({ count, seed, onProgress }: FuzzOptions): Promise<FuzzReport> {
  const random = new SeededRandom(seed);
  const session = await FuzzSession.prepare(WALLET_NAME);
  const answers: Record<string, number> = {};
  let finding: FuzzFinding | undefined;
  for (let done = 0; done < count && finding === undefined; done += BATCH_APDUS) {
    onProgress?.(done);
    const batch = new Batch((CARDS[(done / BATCH_APDUS) % CARDS.length] ?? personalisedLight)(), random, session, answers);
    finding = await batch.run(Math.min(BATCH_APDUS, count - done), done);
  }
  if (finding === undefined) onProgress?.(count);
  return { count, seed, answers, finding };
}

class Batch {
  readonly #random: SeededRandom;
  readonly #session: FuzzSession;
  readonly #answers: Record<string, number>;
  readonly #memory: VolatileCardMemory;
  readonly #chip: Chip;
  readonly #before: CardImage;
  #fault: string | undefined;
  #sent: Bytes = new Uint8Array();
  #sentCount = 0;

  constructor(image: CardImage, random: SeededRandom, session: FuzzSession, answers: Record<string, number>) {
    this.#random = random;
    this.#session = session;
    this.#answers = answers;
    this.#before = image;
    this.#memory = new VolatileCardMemory(this.#before);
    this.#chip = new Chip({
      memory: this.#memory,
      random: FIXED_RANDOM,
      now: () => this.#sentCount,
      observer: (event) => {
        if (event.kind === 'fault') this.#fault = event.error instanceof Error ? (event.error.stack ?? event.error.message) : 'something that is no error';
      },
    });
  }

  async run(count: number, done: number): Promise<FuzzFinding | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<string>((resolve) => {
      timer = setTimeout(() => resolve(`no answer within ${BATCH_LIMIT_MS / 1000} s`), BATCH_LIMIT_MS);
    });
    const what = await Promise.race([this.#sendAll(count), tooLong]);
    clearTimeout(timer);
    return what === undefined ? undefined : { what, at: done + this.#sentCount, apdu: encodeHex(this.#sent) };
  }

  /** What went wrong, if anything. */
  async #sendAll(count: number): Promise<string | undefined> {
    for (this.#sentCount = 0; this.#sentCount < count; this.#sentCount++) {
      this.#sent = await this.#nextMalformed();
      const wrong = await this.#send(this.#sent);
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  async #send(command: Bytes): Promise<string | undefined> {
    let answer: Bytes;
    try {
      answer = await this.#chip.process(command);
    } catch (error) {
      return `the chip threw ${String(error)}`;
    }
    if (answer.length < 2 || answer.length > MAX_ANSWER_BYTES) return `an answer of ${answer.length} bytes`;
    const status = encodeHex(answer.subarray(-2));
    this.#answers[status] = (this.#answers[status] ?? 0) + 1;
    if (this.#fault !== undefined) return `a fault inside: ${this.#fault}`;
    return this.#memory.image === this.#before || isSameButForFailures(this.#memory.image, this.#before) ? undefined : 'what the card keeps has changed';
  }

  /** Brings the chip into some state, and returns what it should refuse there. */
  async #nextMalformed(): Promise<Bytes> {
    const random = this.#random;
    if (random.below(2) === 0) return this.#shapeless();
    for (const command of this.#session.opening.slice(0, random.below(12) === 0 ? 2 : 3)) await this.#chip.process(command);
    let counter = 0;
    for (let steps = random.below(3); steps > 0; steps--) await this.#chip.process(await this.#session.command(HARMLESS[random.below(HARMLESS.length)] ?? 0, counter++));
    return random.below(4) === 0 ? this.#shapeless() : this.#mutated(await this.#session.command(random.below(COMMAND_KINDS), counter));
  }

  /** Bytes that no host has meant. */
  #shapeless(): Bytes {
    const random = this.#random;
    switch (random.below(8)) {
      case 0:
        return random.bytes(random.below(MAX_COMMAND_BYTES));
      case 1:
        return concatBytes(new Uint8Array([random.below(2) === 0 ? 0x00 : 0x90]), random.bytes(random.below(12)));
      case 2:
        return apdu(0xaf, random.bytes(random.below(3) === 0 ? 32 : random.below(40)));
      case 3: // extended length
        return concatBytes(new Uint8Array([0x90, random.below(256), 0, 0, 0, random.below(2), random.below(256)]), random.bytes(random.below(40)));
      case 4:
        return concatBytes(new Uint8Array([0x00, 0xa4, random.below(6), random.below(2) * 12]), random.bytes(random.below(20)));
      case 5:
        return apdu(random.below(256), random.bytes(random.below(48)));
      default:
        return apdu(INSTRUCTIONS[random.below(INSTRUCTIONS.length)] ?? 0, this.#plausible());
    }
  }

  /** A file or key number that exists, small numbers, and then anything. */
  #plausible(): Bytes {
    const random = this.#random;
    const small = new Uint8Array(random.below(12)).map(() => (random.below(3) === 0 ? random.below(20) : 0));
    return concatBytes(small, random.bytes(random.below(2) * random.below(40)));
  }

  /** The command with something wrong about it. */
  #mutated(command: Bytes): Bytes {
    const random = this.#random;
    const isEmpty = command.length === 5;
    const payload = isEmpty ? new Uint8Array() : command.slice(5, -1);
    const instruction = command[1] ?? 0;
    switch (random.below(isEmpty ? 4 : 9)) {
      case 0:
        return command.slice(0, random.below(command.length));
      case 1:
        return concatBytes(command, random.bytes(1 + random.below(20)));
      case 2: // extended length
        return concatBytes(command.subarray(0, 4), new Uint8Array([0, 0]), command.subarray(4));
      case 3:
        return flipped(command, random.below(8 * command.length));
      case 4: // without its MAC
        return apdu(instruction, payload.subarray(0, Math.max(0, payload.length - 8)));
      case 5:
        return apdu(instruction, payload.subarray(0, random.below(payload.length)));
      case 6:
        return apdu(instruction, concatBytes(payload, random.bytes(1 + random.below(16))));
      case 7: // under another instruction
        return apdu(INSTRUCTIONS.find((other) => other > instruction) ?? 0x0c, payload);
      default:
        return apdu(instruction, flipped(payload, random.below(8 * payload.length)));
    }
  }
}

function flipped(bytes: Bytes, bit: number): Bytes {
  const changed = new Uint8Array(bytes);
  changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  return changed;
}

function blank(profile: ProfileName): CardImage {
  return createFactoryImage({ profile, random: FIXED_RANDOM });
}

/** A Light on which nothing is free, and key 0 may do everything in full mode. */
function personalisedLight(): CardImage {
  const image = blank('light');
  const rights = { read: 0, write: 0, readWrite: 0, change: 0 };
  return {
    ...image,
    applications: image.applications.map((application) => ({
      ...application,
      files: application.files.map((file) => {
        if (file.type === 'transaction-mac') return { ...file, rights: { ...rights, write: 15 } };
        if (file.type === 'value') return { ...file, rights, value: 5000, freeGetValue: false };
        return file.type === 'cyclic' ? { ...file, rights, records: [new Uint8Array(file.recordBytes)] } : { ...file, mode: 3, rights };
      }),
    })),
  };
}

/** The same application on a card with free applications, of which nobody may make another. */
function personalisedFree(profile: ProfileName): CardImage {
  const image = blank(profile);
  return { ...image, picc: { ...image.picc, keySettings: 0 }, applications: personalisedLight().applications.map((application) => ({ ...application, aid: 1 })) };
}

/** A blank card may be given applications by whoever comes; on all others only failed authentications leave a trace. */
function isSameButForFailures(now: CardImage, before: CardImage): boolean {
  if (before.applications.length === 0) return true;
  if (now.applications.length !== before.applications.length || now.picc.keySettings !== before.picc.keySettings || now.picc.configuration !== before.picc.configuration) return false;
  return now.applications.every((application, index) => {
    const old = before.applications[index];
    return application.files === old?.files && application.name === old.name && application.keys.every((key, keyNo) => key.value === old.keys[keyNo]?.value);
  });
}

/** Mulberry32: fast, and good enough to choose bytes. */
class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  below(limit: number): number {
    return this.#next() % limit;
  }

  bytes(length: number): Bytes {
    const bytes = new Uint8Array(length);
    for (let i = 0; i < length; i++) bytes[i] = this.#next() & 0xff;
    return bytes;
  }
}
