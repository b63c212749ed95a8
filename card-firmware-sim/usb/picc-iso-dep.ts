/** The card's end of ISO-DEP (ISO/IEC 14443-4, 7.5): blocks in, blocks out, each command carried out exactly once; works without CRCs. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** A command APDU is at most an extended one: 7 bytes of header and Lc, 65535 of data, 2 of Le. */
const MAX_COMMAND_BYTES = 7 + 0xffff + 2;
const CRC_BYTES = 2;

const PCB = { I: 0x02, R_ACK: 0xa2, R_NAK: 0xb2, S_DESELECT: 0xc2, S_WTX: 0xf2 } as const;
const CHAINING = 0x10;
const CID_FOLLOWS = 0x08;

type Outcome = Bytes | 'mute' | 'tear';

export interface PiccIsoDepOptions {
  /** Carries out one command; called once for each. */
  readonly process: (command: Bytes) => Promise<Outcome>;
  /** Most bytes of a frame the reader takes, CRC included. */
  readonly fsd: number;
  /** Most bytes of a frame the card takes, CRC included. */
  readonly fsc: number;
  readonly cid: number;
  /** What the card asks to be waited for: WTXM, 1 to 59. */
  readonly wtxm: number;
  /** How long the application may work before an S(WTX) asks for time. */
  readonly patienceMs: number;
  /** So many S(WTX) come before the answer, however quick the application is; read at each command. */
  readonly wtxStorm: () => number;
  readonly wait: (ms: number) => Promise<void>;
}

/** What the card does about a block: sends one, sends nothing, sends one and leaves the protocol, or is out of the field. */
export type PiccReaction = Bytes | undefined | { readonly deselected: Bytes } | 'tear';

export class PiccIsoDep {
  readonly #options: PiccIsoDepOptions;
  /** 7.5.3.2, rule C: 1 at activation. */
  #blockNumber = 1;
  #lastBlock: Bytes | undefined;
  #command: Bytes = new Uint8Array();
  #restOfAnswer: Bytes | undefined;
  #work: Promise<Outcome> | undefined;
  #isWaitingForWtx = false;
  #stormLeft = 0;
  #isBusy = false;
  #hasCid = false;

  constructor(options: PiccIsoDepOptions) {
    this.#options = options;
  }

  /** One block without its CRC. A block that comes while the card is at work, before it has asked for time, is not heard. */
  async receive(block: Bytes): Promise<PiccReaction> {
    if (this.#isBusy) return undefined;
    const parsed = this.#parseBlock(block);
    if (parsed === undefined) return undefined;
    this.#hasCid = parsed.hasCid;
    this.#isBusy = true;
    try {
      return await this.#react(parsed.pcb, parsed.inf);
    } finally {
      this.#isBusy = false;
    }
  }

  #parseBlock(block: Bytes): { pcb: number; inf: Bytes; hasCid: boolean } | undefined {
    const pcb = block[0];
    // 7.5.5.2: the card says nothing to what it cannot read, and goes on listening.
    if (pcb === undefined || block.length + CRC_BYTES > this.#options.fsc) return undefined;
    const hasCid = (pcb & CID_FOLLOWS) !== 0;
    if (hasCid ? (block[1] ?? 0xff) % 16 !== this.#options.cid : this.#options.cid !== 0) return undefined;
    return { pcb: pcb & ~CID_FOLLOWS, inf: block.slice(hasCid ? 2 : 1), hasCid };
  }

  async #react(pcb: number, inf: Bytes): Promise<PiccReaction> {
    if ((pcb & 0xee) === PCB.I) return this.#onIBlock((pcb & CHAINING) !== 0, inf);
    const number = pcb & 1;
    if ((pcb & 0xfe) === PCB.R_ACK && inf.length === 0) return this.#onAck(number);
    if ((pcb & 0xfe) === PCB.R_NAK && inf.length === 0) return this.#onNak(number);
    if (pcb === PCB.S_DESELECT && inf.length === 0) return { deselected: this.#block(PCB.S_DESELECT) };
    if (pcb === PCB.S_WTX && inf.length === 1) return this.#onWtx((inf[0] ?? 0) & 0x3f);
    return undefined;
  }

  async #onIBlock(isChaining: boolean, inf: Bytes): Promise<PiccReaction> {
    // While S(WTX) is open only its answer, an R-block or S(DESELECT) may come (7.5.2.2).
    if (this.#isWaitingForWtx || this.#command.length + inf.length > MAX_COMMAND_BYTES) return undefined;
    this.#blockNumber ^= 1; // rule D
    this.#restOfAnswer = undefined;
    this.#command = concatBytes(this.#command, inf);
    if (isChaining) return this.#send(this.#block(PCB.R_ACK | this.#blockNumber)); // rule 2
    const command = this.#command;
    this.#command = new Uint8Array();
    this.#stormLeft = this.#options.wtxStorm();
    this.#work = this.#options.process(command);
    return this.#awaitWork(this.#options.patienceMs);
  }

  #onAck(number: number): PiccReaction {
    if (number === this.#blockNumber) return this.#lastBlock; // rule 11
    if (this.#restOfAnswer === undefined) return undefined;
    this.#blockNumber ^= 1; // rule E
    return this.#sendNextOfAnswer(); // rule 13
  }

  #onNak(number: number): PiccReaction {
    return number === this.#blockNumber ? this.#lastBlock : this.#block(PCB.R_ACK | this.#blockNumber); // rules 11, 12
  }

  async #onWtx(wtxm: number): Promise<PiccReaction> {
    if (!this.#isWaitingForWtx || wtxm !== this.#options.wtxm) return undefined;
    this.#isWaitingForWtx = false;
    return this.#awaitWork(this.#options.patienceMs * wtxm);
  }

  async #awaitWork(patienceMs: number): Promise<PiccReaction> {
    if (this.#stormLeft > 0) {
      this.#stormLeft--;
      return this.#askForTime();
    }
    const outcome = await Promise.race([this.#work ?? 'mute', this.#options.wait(patienceMs).then(() => undefined)]);
    if (outcome === 'tear') return 'tear';
    if (outcome === undefined) return this.#askForTime();
    if (typeof outcome === 'string') {
      // The chip hangs; its protocol part does not know, and asks for time for ever.
      await this.#options.wait(patienceMs);
      return this.#askForTime();
    }
    this.#work = undefined;
    this.#restOfAnswer = outcome;
    return this.#sendNextOfAnswer();
  }

  #askForTime(): Bytes {
    this.#isWaitingForWtx = true;
    return this.#send(concatBytes(this.#block(PCB.S_WTX), new Uint8Array([this.#options.wtxm])));
  }

  #sendNextOfAnswer(): Bytes {
    const rest = this.#restOfAnswer ?? new Uint8Array();
    const room = this.#options.fsd - CRC_BYTES - (this.#hasCid ? 2 : 1);
    const isLast = rest.length <= room;
    this.#restOfAnswer = isLast ? undefined : rest.slice(room);
    const head = this.#block(PCB.I | this.#blockNumber | (isLast ? 0 : CHAINING));
    return this.#send(concatBytes(head, rest.subarray(0, room)));
  }

  /** The prologue; a CID goes back where one came (7.1.1.2). */
  #block(pcb: number): Bytes {
    return this.#hasCid ? new Uint8Array([pcb | CID_FOLLOWS, this.#options.cid]) : new Uint8Array([pcb]);
  }

  #send(block: Bytes): Bytes {
    this.#lastBlock = block;
    return block;
  }
}
