/** For tests only: a chip and the model of it side by side; what a host does is done to both, and every answer and everything kept is compared. */
import { crc32 } from 'node:zlib';
import { isDeepStrictEqual } from 'node:util';
import { aesCbc, cmac, TestingHost, truncated } from '../host.ts';
import { Chip } from '../../chip.ts';
import { concatBytes, encodeUintLE } from '#protocol/bytes.ts';
import { Model } from './model.ts';
import { VolatileCardMemory } from '../../card-memory.ts';
import type { CardImage } from '../../card-image.ts';
import type { HostAnswer } from '../host.ts';
import type { Mode, Oracle, Plain } from './card.ts';
import type { Profile } from '../../profile.ts';
import type { Said, Sent } from './model.ts';

export type Protection = Mode | 'as asked' | 'wrong MAC' | 'sent twice';

/** What a host can do to a card. */
export type Act =
  | { readonly does: 'select'; readonly what: 'application' | 'with FCI' | 'factory name' | 'card' | 'file' | 'no such file' | 'read binary' }
  | { readonly does: 'authenticate'; readonly isFirst: boolean; readonly keyNo: number; readonly key: number; readonly then: 'prove' | 'send too little' | 'leave it' }
  /** Only where there is no session: as real hosts begin. */
  | { readonly does: 'begin'; readonly keyNo: number }
  | { readonly does: 'command'; readonly instruction: number; readonly header: number[]; readonly data: number[]; readonly protection: Protection }
  | { readonly does: 'frame'; readonly bytes: number }
  | { readonly does: 'garble'; readonly apdu: string }
  | { readonly does: 'wait'; readonly ms: number }
  | { readonly does: 'lose the field' };

/** The keys that hosts and cards of this test know. */
export const KEYS = [0x00, 0x11, 0x22].map((byte) => new Array<number>(16).fill(byte));
const FACTORY_NAME = Buffer.from('A00000039656434103F015400000000B', 'hex');
const ERRORS_NOT: readonly number[] = [0x00, 0x0c, 0xaf];
const ZERO = new Uint8Array(16);

/** The difference that was found, or undefined. */
export class Pair {
  readonly #memory: VolatileCardMemory;
  readonly #chip: Chip;
  readonly #host: TestingHost;
  readonly #model: Model;
  #nowMs = 0;
  #last: { sent: Sent; payload: Uint8Array } | undefined;
  #brought = new Uint8Array();

  constructor(image: CardImage, profile: Profile) {
    this.#memory = new VolatileCardMemory(image);
    this.#chip = new Chip({ memory: this.#memory, profile, now: () => this.#nowMs });
    this.#host = new TestingHost(this.#chip);
    // A host without a session still sends what looks protected.
    this.#host.session = { ti: new Uint8Array(4), counter: 0, enc: ZERO, mac: ZERO };
    this.#model = new Model(plain(image), profile, ORACLE, () => this.#nowMs);
  }

  /** Throws an error that says where the two differ. */
  async play(act: Act): Promise<void> {
    await this.#play(act);
    const kept = plain(this.#memory.image);
    if (!isDeepStrictEqual(kept, this.#model.card.kept)) throw new Error(`after ${JSON.stringify(act)} the chip keeps ${differences(kept, this.#model.card.kept)}`);
  }

  async #play(act: Act): Promise<void> {
    switch (act.does) {
      case 'select':
        return this.#select(act);
      case 'authenticate':
        return this.#authenticate(act);
      case 'begin':
        if (this.#model.card.session !== undefined) return;
        await this.#select({ does: 'select', what: 'application' });
        return this.#authenticate({ does: 'authenticate', isFirst: true, keyNo: act.keyNo, key: 0, then: 'prove' });
      case 'command':
        return this.#command(act);
      case 'frame':
        return void this.#compare(act, await this.#host.native(0xaf, new Uint8Array(act.bytes)), this.#model.frame(act.bytes));
      case 'garble':
        return void this.#compare(act, await this.#host.raw(Buffer.from(act.apdu, 'hex')), this.#model.malformed());
      case 'wait':
        this.#nowMs += act.ms;
        return;
      case 'lose the field':
        this.#model.loseField();
        return this.#chip.reset();
    }
  }

  async #select(act: Act & { does: 'select' }): Promise<void> {
    const name = this.#model.card.application.name ?? [];
    const byName = (bytes: readonly number[], withFci = false): [string, () => [number, number[]]] => [
      `00A404${withFci ? '00' : '0C'}${Buffer.from([bytes.length, ...bytes]).toString('hex')}00`,
      () => this.#model.selectApplication([...bytes], withFci),
    ];
    const [apdu, foretell] = {
      application: byName(name),
      'with FCI': byName(name, true),
      'factory name': byName([...FACTORY_NAME]),
      card: ['00A4000C023F00', () => this.#model.selectCard()] as const,
      file: ['00A4020C02EF01', () => this.#model.selectFile(0xef01)] as const,
      'no such file': ['00A4020C02EF02', () => this.#model.selectFile(0xef02)] as const,
      'read binary': ['00B0000000', () => this.#model.readBinary()] as const,
    }[act.what];
    const { status, data } = await this.#host.raw(Buffer.from(apdu, 'hex'));
    same(act, { status, data: [...data] }, foretell());
  }

  async #authenticate(act: Act & { does: 'authenticate' }): Promise<void> {
    const instruction = act.isFirst ? 0x71 : 0x77;
    const first = await this.#host.native(instruction, new Uint8Array(act.isFirst ? [act.keyNo, 0] : [act.keyNo]));
    const said = this.#model.challenge(act.isFirst, act.keyNo);
    this.#compareStatus(act, first, said);
    if (said.status !== 0xaf || act.then === 'leave it') return;
    if (act.then === 'send too little') return this.#play({ does: 'frame', bytes: 31 });
    const key = KEYS[act.key] ?? [];
    const answer = await this.#host.prove(new Uint8Array(key), first.data, instruction);
    this.#compareStatus(act, answer, this.#model.frame(32, key));
  }

  async #command(act: Act & { does: 'command' }): Promise<void> {
    const { sent, payload } = this.#prepared(act);
    this.#last = { sent, payload };
    const hadSession = this.#model.card.session !== undefined;
    const answer = await this.#host.native(sent.instruction, payload);
    const said = this.#model.command(sent);
    if (hadSession && this.#host.session !== undefined && ERRORS_NOT.includes(said.status)) this.#host.session.counter++;
    this.#compare(act, answer, said);
  }

  #prepared({ instruction, header, data, protection }: Act & { does: 'command' }): { sent: Sent; payload: Uint8Array } {
    if (protection === 'sent twice' && this.#last !== undefined) return { ...this.#last, sent: { ...this.#last.sent, isGenuine: false } };
    const isForced = protection === 'plain' || protection === 'mac' || protection === 'full';
    const mode = isForced ? protection : this.#model.modeAsked(instruction, header);
    const payload = this.#host.protect(instruction, new Uint8Array(header), new Uint8Array(data), mode);
    const isSpoiled = protection === 'wrong MAC' && mode !== 'plain';
    if (isSpoiled) payload[payload.length - 1] = (payload[payload.length - 1] ?? 0) ^ 1;
    const enciphered = mode === 'full' ? [...payload.slice(header.length, -8)] : data;
    return { sent: { instruction, header, data, enciphered, mode, isGenuine: this.#model.card.session !== undefined && !isSpoiled }, payload };
  }

  #compare(act: Act, answer: HostAnswer, said: Said): void {
    this.#compareStatus(act, answer, said);
    const whole = said.broughtBytes === undefined ? answer.data : concatBytes(this.#brought, answer.data);
    this.#brought = said.status === 0xaf ? concatBytes(this.#brought, answer.data) : new Uint8Array();
    const data = said.mode === 'plain' ? whole : this.#host.opened(said.status, whole, said.mode);
    same(act, { data: [...data] }, { data: said.data });
  }

  #compareStatus(act: Act, { status, data }: HostAnswer, said: Said): void {
    if (!ERRORS_NOT.includes(said.status)) this.#brought = new Uint8Array();
    same(act, status.toString(16), (0x9100 + said.status).toString(16));
    if (!ERRORS_NOT.includes(said.status)) same(act, { data: [...data] }, { data: [] });
  }
}

const ORACLE: Oracle = {
  transactionMac: (key, counter, uid, input) => [...truncated(cmac(transactionKey(0x5a, key, counter, uid), new Uint8Array(input)))],
  encipherReaderId: (key, counter, uid, previous) => [...aesCbc(transactionKey(0xa5, key, counter, uid), ZERO, new Uint8Array(previous))],
  checksum,
};

/** CRC-32 without its final inversion, as ChangeKey wants it. */
export function checksum(key: number[]): number[] {
  return [...encodeUintLE((crc32(new Uint8Array(key)) ^ 0xffffffff) >>> 0, 4)];
}

function transactionKey(label: number, key: number[], counter: number, uid: number[]): Uint8Array {
  return cmac(new Uint8Array(key), concatBytes(new Uint8Array([label, 0x00, 0x01, 0x00, 0x80]), encodeUintLE(counter, 4), new Uint8Array(uid)));
}

/** Byte strings as lists of numbers, all else as it is. */
function plain<T>(value: T): Plain<T> {
  const convert = (one: unknown): unknown => {
    if (one instanceof Uint8Array) return [...one];
    if (Array.isArray(one)) return one.map(convert);
    return typeof one === 'object' && one !== null ? Object.fromEntries(Object.entries(one).map(([name, inner]) => [name, convert(inner)])) : one;
  };
  return convert(value) as Plain<T>;
}

function same(act: Act, chip: unknown, model: unknown): void {
  if (!isDeepStrictEqual(chip, Array.isArray(model) ? { status: model[0] as unknown, data: model[1] as unknown } : model)) throw new Error(`${JSON.stringify(act)}: the chip answers ${JSON.stringify(chip)}, the model ${JSON.stringify(model)}`);
}

function differences(chip: unknown, model: unknown, path = ''): string {
  if (isDeepStrictEqual(chip, model)) return '';
  if (typeof chip !== 'object' || typeof model !== 'object' || chip === null || model === null) return `${path}: ${String(chip)}, the model ${String(model)}; `;
  const names = [...new Set([...Object.keys(chip), ...Object.keys(model)])];
  return names.map((name) => differences((chip as Record<string, unknown>)[name], (model as Record<string, unknown>)[name], `${path}.${name}`)).join('');
}
