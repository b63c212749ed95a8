/** The card's side of ISO/IEC 14443-4 by the letter of its rules (7.5.3, C to E; 7.5.4, 9 to 13), for tests of the reader's side. */
import { concatBytes, encodeHex, type Bytes } from '#protocol/bytes.ts';

export interface ReferenceCardOptions {
  readonly answer: (command: Bytes) => Bytes;
  /** FSC; a longer frame is a violation. */
  readonly frameBytes: number;
  /** Data in each block of an answer. */
  readonly blockBytes: number;
  /** Requests for more time before each block that it sends for an I-block or R(ACK); Infinity: it hangs. */
  readonly extensions?: (blockIndex: number) => number;
}

export class ReferenceCard {
  /** Commands carried out, in hex: what must never show one twice. */
  readonly commands: string[] = [];
  readonly violations: string[] = [];
  /** What came in, in hex. */
  readonly blocks: string[] = [];
  isDeselected = false;
  readonly #options: ReferenceCardOptions;
  #number = 1; // rule C
  #last: Bytes = new Uint8Array();
  #command: Bytes = new Uint8Array();
  #rest: Bytes[] = [];
  #held: Bytes | undefined;
  #extensionsLeft = 0;
  #sentBlocks = 0;

  constructor(options: ReferenceCardOptions) {
    this.#options = options;
  }

  /** One undamaged block in; the block out, or undefined where the card keeps still. */
  receive(block: Bytes): Bytes | undefined {
    this.blocks.push(encodeHex(block));
    const prologue = block[0] ?? 0;
    if (block.length + 2 > this.#options.frameBytes) this.violations.push(`${block.length + 2} bytes in a frame`);
    if ((prologue & 0xee) === 0x02) return this.#information((prologue & 0x10) !== 0, block.slice(1));
    if ((prologue & 0xee) === 0xa2 && block.length === 1) return this.#acknowledgement((prologue & 0x10) !== 0, prologue & 1);
    if (prologue === 0xf2 && block.length === 2) return this.#moreTime(block[1] ?? 0);
    if (prologue === 0xc2 && block.length === 1) {
      this.isDeselected = true;
      return block;
    }
    this.violations.push(`block ${encodeHex(block)}`);
    return undefined;
  }

  #information(chaining: boolean, data: Bytes): Bytes {
    this.#number ^= 1; // rule D: whatever number it has
    if (this.#held) this.violations.push('I-block while more time was asked for');
    this.#command = concatBytes(this.#command, data);
    if (chaining) return this.#send(Uint8Array.of(0xa2 | this.#number)); // rule 2
    const command = this.#command;
    this.#command = new Uint8Array();
    this.commands.push(encodeHex(command));
    const answer = this.#options.answer(command);
    this.#rest = [];
    for (let at = 0; at === 0 || at < answer.length; at += this.#options.blockBytes) this.#rest.push(answer.slice(at, at + this.#options.blockBytes));
    return this.#send(this.#nextInformation()); // rule 10
  }

  #nextInformation(): Bytes {
    const data = this.#rest.shift() ?? new Uint8Array();
    return concatBytes(Uint8Array.of(0x02 | (this.#rest.length > 0 ? 0x10 : 0) | this.#number), data);
  }

  #acknowledgement(isNak: boolean, number: number): Bytes | undefined {
    if (number === this.#number) return this.#last; // rule 11
    if (isNak) return Uint8Array.of(0xa2 | this.#number); // rule 12
    if (this.#rest.length === 0) return void this.violations.push('R(ACK) without chaining');
    this.#number ^= 1; // rule E
    return this.#send(this.#nextInformation()); // rule 13
  }

  #send(block: Bytes): Bytes {
    this.#extensionsLeft = this.#options.extensions?.(this.#sentBlocks++) ?? 0;
    this.#held = block;
    return this.#release();
  }

  /** Rule 9. */
  #release(): Bytes {
    if (this.#extensionsLeft > 0) {
      this.#extensionsLeft--;
      this.#last = Uint8Array.of(0xf2, 0x01);
    } else {
      this.#last = this.#held ?? new Uint8Array();
      this.#held = undefined;
    }
    return this.#last;
  }

  #moreTime(multiplier: number): Bytes | undefined {
    if (!this.#held || multiplier !== 1) return void this.violations.push('S(WTX) that nobody asked for');
    return this.#release();
  }
}
