/** An RC-S300 on paper: it answers at the level of its messages, has one card, and misbehaves as a test wants it. */
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { ReferenceCard } from '../iso-dep-card.fixture.ts';
import { createRcS300 } from './rc-s300.ts';
import { FakeUsbDevice, JumpingClock, type Reaction } from './usb-device.fixture.ts';

export const SESSION_END = 'FF50000002820000';
export const SESSION_START = 'FF50000002810000';
export const RF_OFF = 'FF50000002830000';
export const RF_ON = 'FF50000002840000';
export const LAYER_3 = 'FF500002048F02000300';
export const LAYER_4 = 'FF50000210FF6E03010108FF6E030801008F02000400';
export const GET_UID = 'FFCA0000';
export const GET_ATS = 'FFCA0100';
export const REQA = 'FF500001000013900200139101075F4604881300009582000126000000';
export const DONE = 'C0030090009000';
export const MISSED = 'C0030264019000';
export const NO_ACCESS = 'C00300698A9000';
/** A block that would be a fine answer, had its CRC been right. */
export const DAMAGED = 'C0030090009602010097030290009000';
const ATS = '067577810280';

export function createReader() {
  const paper = {
    /** Pseudo-APDUs in hex, as they came. */
    requests: [] as string[],
    uid: '04112233445566' as string | undefined,
    card: new ReferenceCard({ frameBytes: 64, blockBytes: 61, answer: (command) => concatBytes(command, parseHex('9100')) }),
    /** Replies to requests that begin so, instead of the usual ones; each used up from its beginning, the last one stays. */
    instead: new Map<string, string[]>(),
    /** Reactions instead of a reply to the next requests that begin so. */
    react: new Map<string, (reply: () => Bytes, sequence: number) => readonly Reaction[]>(),
  };
  const reply = (request: string): string => {
    for (const [start, replies] of paper.instead) if (request.startsWith(start)) return (replies.length > 1 ? replies.shift() : replies[0]) ?? DONE;
    if (request === GET_ATS) return `${ATS}9000`;
    if (request === GET_UID) return `${paper.uid ?? ''}9000`;
    if (request === LAYER_3 && paper.uid === undefined) return MISSED;
    if (request === REQA) return MISSED;
    if (!request.startsWith('FF500001')) return DONE;
    const [, block = ''] = /958200..(.*)000000$/.exec(request) ?? [];
    if (block === 'E080') return `C003009000920100960200009706${ATS}9000`;
    const answer = paper.uid === undefined ? undefined : paper.card.receive(parseHex(block));
    return answer ? `C0030090009201009602000097${answer.length.toString(16).padStart(2, '0')}${encodeHex(answer)}9000` : MISSED;
  };
  const device = new FakeUsbDevice({
    productId: 0x0dc8,
    productName: 'FeliCa Port/PaSoRi 4.0',
    interfaces: [{ number: 0, class: 0x0b, input: 1, output: 1 }, { number: 1, class: 0xff, input: 2, output: 2 }],
    react: (message) => {
      const request = encodeHex(message.subarray(10));
      const sequence = message[6] ?? 0;
      paper.requests.push(request);
      const whole = (): Bytes => messageOf(sequence, reply(request));
      for (const [start, react] of paper.react) if (request.startsWith(start)) return react(whole, sequence);
      return [whole()];
    },
  });
  const clock = new JumpingClock();
  return { ...paper, paper, device, clock, driver: createRcS300(device, clock) };
}

export function messageOf(sequence: number, data: string, status = '02', error = '00'): Bytes {
  const length = (data.length / 2).toString(16).padStart(2, '0');
  return parseHex(`83${length}00000000${sequence.toString(16).padStart(2, '0')}${status}${error}00${data}`);
}
