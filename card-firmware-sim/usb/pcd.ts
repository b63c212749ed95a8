/** What a reader's own firmware does with a card: look for one, select it, open ISO-DEP, carry commands (ISO/IEC 14443-3 and -4, the reader's end). */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { bitLength, shortFrame, wholeFrame } from './air-frame.ts';
import { exchangeWithCrc } from './field.ts';
import type { ContactlessField } from './field.ts';
import { frameSize, frameWaitingTimeMs, parseAts } from './iso-dep-parameters.ts';

export interface SelectedCard {
  /** As received: low byte first. */
  readonly atqa: Bytes;
  readonly uid: Bytes;
  readonly sak: number;
}

const WUPA = 0x52;
const SELECT_CODES = [0x93, 0x95, 0x97] as const;
const CASCADE_TAG = 0x88;
const CASCADE_BIT = 0x04;
const CRC_BYTES = 2;
/** Short: 14443-3 answers within 0.1 ms. */
const ANTICOLLISION_TIMEOUT_MS = 5;
/** Frames sent twice at most after the first: R(NAK) or R(ACK), never the command itself. */
const BLOCK_RETRIES = 2;
/** FWTmax and a rest (14443-4, 7.2). */
const MAX_FRAME_WAIT_MS = 4_949;

/**
 * Looks for one card and selects it. 'none': nothing answered; 'several': their answers differ; 'lost': one answered and then not, or wrongly.
 * A card that was active falls back at the first WUPA, so a second one is sent (6.4.3); one that speaks ISO-DEP hears neither.
 */
export async function selectCard(field: ContactlessField): Promise<SelectedCard | 'none' | 'several' | 'lost'> {
  let wake = await field.exchange(shortFrame(WUPA), ANTICOLLISION_TIMEOUT_MS);
  if (wake.kind === 'silence') wake = await field.exchange(shortFrame(WUPA), ANTICOLLISION_TIMEOUT_MS);
  if (wake.kind === 'silence') return 'none';
  if (wake.kind === 'collision') return 'several';
  let uid: Bytes = new Uint8Array();
  for (const code of SELECT_CODES) {
    const seen = await field.exchange(wholeFrame(new Uint8Array([code, 0x20])), ANTICOLLISION_TIMEOUT_MS);
    if (seen.kind === 'collision') return 'several';
    if (seen.kind === 'silence' || bitLength(seen.frame) !== 40 || seen.frame.bytes.reduce((bcc, byte) => bcc ^ byte, 0) !== 0) return 'lost';
    const selected = await exchangeWithCrc(field, concatBytes(new Uint8Array([code, 0x70]), seen.frame.bytes), ANTICOLLISION_TIMEOUT_MS);
    if (selected.kind !== 'answer' || selected.bytes.length !== 1) return 'lost';
    const sak = selected.bytes[0] ?? 0;
    const isCascade = (sak & CASCADE_BIT) !== 0;
    if (isCascade !== (seen.frame.bytes[0] === CASCADE_TAG)) return 'lost';
    uid = concatBytes(uid, seen.frame.bytes.subarray(isCascade ? 1 : 0, 4));
    if (!isCascade) return { atqa: wake.frame.bytes, uid, sak };
  }
  return 'lost';
}

/** RATS with this FSDI and CID; resolves to the ATS, TL first, or undefined. */
export async function requestAts(field: ContactlessField, fsdi: number, cid: number): Promise<Bytes | undefined> {
  const answer = await exchangeWithCrc(field, new Uint8Array([0xe0, (fsdi << 4) | cid]), ANTICOLLISION_TIMEOUT_MS);
  return answer.kind === 'answer' && answer.bytes[0] === answer.bytes.length ? answer.bytes : undefined;
}

/** ISO-DEP inside a reader that hides it from its host. 'silent': no valid block in spite of R(NAK)s, or no end of S(WTX) within the limit. */
export class PcdIsoDep {
  readonly #field: ContactlessField;
  readonly #mostInf: number;
  readonly #frameWaitMs: number;
  #blockNumber = 0;

  /** After `requestAts` with CID 0. */
  constructor(field: ContactlessField, ats: Bytes) {
    const { fsci, fwi } = parseAts(ats);
    this.#field = field;
    this.#mostInf = frameSize(fsci) - CRC_BYTES - 1;
    this.#frameWaitMs = frameWaitingTimeMs(fwi) + 4;
  }

  /** One command, once; blocks alone are sent again. */
  async transceive(command: Bytes, limitMs: number): Promise<Bytes | 'silent'> {
    const deadline = performance.now() + limitMs;
    let at = 0;
    let answer: Bytes = new Uint8Array();
    let block = this.#commandBlock(command, at);
    for (;;) {
      const received = await this.#exchange(block, deadline);
      const pcb = received?.[0];
      if (received === undefined || pcb === undefined) return 'silent';
      if ((pcb & 0xf6) === 0xa2) {
        const isAcknowledged = (pcb & 1) === this.#blockNumber;
        if (isAcknowledged) {
          this.#blockNumber ^= 1;
          at += this.#mostInf;
        }
        if (at >= command.length) return 'silent'; // an acknowledgement of what was not chained
        block = this.#commandBlock(command, at); // rule 6 or rule 7
        continue;
      }
      if ((pcb & 1) !== this.#blockNumber || at + this.#mostInf < command.length) return 'silent';
      this.#blockNumber ^= 1;
      answer = concatBytes(answer, received.subarray(1));
      if ((pcb & 0x10) === 0) return answer;
      block = new Uint8Array([0xa2 | this.#blockNumber]);
    }
  }

  /** R(NAK) with the current number: a card that is there answers R(ACK) (7.5.5.1, the presence check). */
  async isPresent(): Promise<boolean> {
    const answer = await exchangeWithCrc(this.#field, new Uint8Array([0xb2 | this.#blockNumber]), this.#frameWaitMs);
    return answer.kind === 'answer';
  }

  /** S(DESELECT): the card is halted. */
  async deselect(): Promise<void> {
    await exchangeWithCrc(this.#field, new Uint8Array([0xc2]), this.#frameWaitMs);
  }

  #commandBlock(command: Bytes, at: number): Bytes {
    const isLast = at + this.#mostInf >= command.length;
    return concatBytes(new Uint8Array([0x02 | this.#blockNumber | (isLast ? 0 : 0x10)]), command.subarray(at, at + this.#mostInf));
  }

  /** One block to the next I- or R-block; S(WTX) is granted here, and what is lost is asked for again (7.5.5.1). */
  async #exchange(block: Bytes, deadline: number): Promise<Bytes | undefined> {
    const isAck = ((block[0] ?? 0) & 0xf6) === 0xa2;
    const again = isAck ? block : new Uint8Array([0xb2 | this.#blockNumber]);
    let outgoing = block;
    let waitMs = this.#frameWaitMs;
    for (let lost = 0; lost <= BLOCK_RETRIES && performance.now() < deadline;) {
      const answer = await exchangeWithCrc(this.#field, outgoing, waitMs);
      waitMs = this.#frameWaitMs;
      if (answer.kind !== 'answer') {
        lost++;
        outgoing = again;
      } else if (answer.bytes[0] === 0xf2 && answer.bytes.length === 2) {
        lost = 0;
        const wtxm = (answer.bytes[1] ?? 0) & 0x3f;
        waitMs = Math.min(this.#frameWaitMs * Math.max(wtxm, 1), MAX_FRAME_WAIT_MS);
        outgoing = new Uint8Array([0xf2, wtxm]);
      } else {
        return answer.bytes;
      }
    }
    return undefined;
  }
}
