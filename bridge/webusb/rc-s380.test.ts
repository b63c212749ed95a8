import { describe, expect, test } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { asFailure } from '#protocol/failure.ts';
import { ReferenceCard } from '../iso-dep-card.fixture.ts';
import { createRcS380 } from './rc-s380.ts';
import { FakeUsbDevice, JumpingClock, type Reaction } from './usb-device.fixture.ts';

const ACK = parseHex('0000FF00FF00');
const SILENT = '8000000000';
const GET_VERSION = parseHex('9060000000');
const CALLING = ['D60002030F03', 'D60200180101020103000400050006000708080009000A000B000C000E040F001000110012001306', 'D60200060100020005010707'];
const REQA = 'D604360126';

/** The reply frame `D7 code+1 args`. */
function replyOf(code: number, args: string): Bytes {
  const payload = concatBytes(Uint8Array.of(0xd7, code + 1), parseHex(args));
  const checksum = (bytes: Uint8Array): number => -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  const length = Uint8Array.of(payload.length & 0xff, payload.length >> 8);
  return concatBytes(parseHex('0000FFFFFF'), length, Uint8Array.of(checksum(length)), payload, Uint8Array.of(checksum(payload), 0));
}

/** A reader at the level of its frames, with one card and some ways to misbehave. */
function createReader() {
  const paper = {
    /** Payloads in hex, as they came. */
    commands: [] as string[],
    isCardThere: true,
    /** What each cascade level answers to the anticollision: four bytes and their BCC. */
    levels: ['88041122', '33445566'].map(withBcc),
    saks: ['04', '20'],
    card: new ReferenceCard({ frameBytes: 64, blockBytes: 61, answer: (command) => concatBytes(command, parseHex('9100')) }),
    /** Arguments of replies to commands that begin so; each used up, the last one stays. */
    instead: new Map<string, string[]>(),
    react: new Map<string, (reply: () => Bytes, code: number) => readonly Reaction[]>(),
  };
  const overAir = (frame: string): string => {
    if (!paper.isCardThere) return SILENT;
    const say = (hex: string): string => `0000000008${hex}`;
    const level = ['93', '95', '97'].indexOf(frame.slice(0, 2));
    if (frame === '26') return say('4403');
    if (level >= 0 && frame.slice(2) === '20') return say(paper.levels[level] ?? '');
    if (level >= 0) return frame.slice(4) === paper.levels[level] ? say(paper.saks[level] ?? '') : SILENT;
    if (frame === 'E080') return say('067577810280');
    const answer = paper.card.receive(parseHex(frame));
    return answer ? say(encodeHex(answer)) : SILENT;
  };
  const device = new FakeUsbDevice({
    productId: 0x06c3,
    productName: 'NFC Port/PaSoRi 3.0',
    interfaces: [{ number: 0, class: 0xff, input: 1, output: 2 }],
    react: (frame) => {
      const payload = encodeHex(frame.subarray(8, -2));
      if (encodeHex(frame) === encodeHex(ACK)) return [];
      paper.commands.push(payload);
      const code = frame[9] ?? 0;
      const [, replies] = [...paper.instead].find(([start]) => payload.startsWith(start)) ?? [];
      const args = (): string =>
        replies ? ((replies.length > 1 ? replies.shift() : replies[0]) ?? '') : code === 0x04 ? overAir(payload.slice(8)) : code === 0x20 ? '1101' : '00';
      const [, react] = [...paper.react].find(([start]) => payload.startsWith(start)) ?? [];
      const reply = (): Bytes => replyOf(code, args());
      return react ? react(reply, code) : [ACK, reply()];
    },
  });
  const clock = new JumpingClock();
  return { paper, commands: paper.commands, card: paper.card, device, clock, driver: createRcS380(device, clock) };
}

function withBcc(part: string): string {
  return part + encodeHex(Uint8Array.of(parseHex(part).reduce((sum, byte) => sum ^ byte, 0)));
}

async function opened() {
  const reader = createReader();
  await reader.driver.open();
  reader.commands.length = 0;
  return reader;
}

async function withCard() {
  const reader = await opened();
  const found = await reader.driver.findCard();
  if (!found) throw new Error('no card');
  reader.commands.length = 0;
  return { ...reader, found };
}

const codeOf = (work: Promise<unknown>) => work.then(() => 'done', (thrown: unknown) => asFailure(thrown).code);

describe('open', () => {
  test('an ACK ends what was; then command type, version, field off', async () => {
    const { driver, commands, device, clock } = createReader();
    expect(driver.readerName).toBe('SONY RC-S380/P (NFC Port/PaSoRi 3.0)');
    await driver.open();
    expect(device.sent[0]).toBe('0000FF00FF00');
    expect(commands).toEqual(['D62A01', 'D620', 'D60600']);
    expect(clock.nowMs).toBe(40);
  });

  test('what an earlier user left unread is thrown away', async () => {
    const { driver, device } = createReader();
    for (const transfer of [ACK, replyOf(0x04, SILENT), parseHex('DEADBEEF')]) device.bring(transfer);
    await driver.open();
    expect(device.violations).toEqual([]);
  });

  test('on Linux the kernel has it, elsewhere another program', async () => {
    const { driver, device } = createReader();
    device.refuse.claimInterface = 'NetworkError';
    expect(await codeOf(driver.open())).toBe('reader/driver');
    expect(await codeOf(createRcS380(device, new JumpingClock(), 'windows').open())).toBe('reader/in-use');
  });

  test.each<[string, string, readonly Reaction[]]>([
    ['a refused command', 'D62A', [ACK, replyOf(0x2a, '01')]],
    ['an error frame', 'D620', [parseHex('0000FFFFFF')]],
    ['no version', 'D620', [ACK, replyOf(0x20, '11')]],
    ['silence', 'D62A', []],
    ['an ACK and nothing more', 'D62A', [ACK]],
    ['a damaged frame', 'D62A', [ACK, parseHex('0000FFFFFF0300FDD72B00FF00')]],
    ['unplugged', 'D62A', ['unplug']],
  ])('%s is a failure of the reader, which is given back', async (_what, start, reactions) => {
    const { driver, paper, device } = createReader();
    paper.react.set(start, () => reactions);
    expect(await codeOf(driver.open())).toBe('reader/failed');
    expect(device.opened).toBe(false);
    expect(device.violations).toEqual([]);
  });
});

describe('finding a card', () => {
  test('none: one exchange a look, once the reader is set to call', async () => {
    const { driver, paper, commands } = await opened();
    paper.isCardThere = false;
    expect(await driver.findCard()).toBeUndefined();
    expect(await driver.findCard()).toBeUndefined();
    expect(commands).toEqual([...CALLING, REQA, REQA]);
  });

  test('silence told in four bytes is silence', async () => {
    const { driver, paper } = await opened();
    paper.instead.set('D604', ['80000000']);
    expect(await driver.findCard()).toBeUndefined();
  });

  test('one with seven bytes of UID, over two levels, byte for byte', async () => {
    const { driver, commands, paper, clock } = await opened();
    const before = clock.nowMs;
    const card = await driver.findCard();
    expect(card?.uid).toEqual(parseHex('04112233445566'));
    expect(commands).toEqual([
      ...CALLING, REQA, 'D60204010708',
      'D60201000200', 'D60436019320', 'D60201010201', `D60436019370${paper.levels[0] ?? ''}`,
      'D60201000200', 'D60436019520', 'D60201010201', `D60436019570${paper.levels[1] ?? ''}`,
      'D6043601E080',
    ]);
    expect(clock.nowMs - before).toBeLessThan(1);
  });

  test.each([
    ['four', ['08112233'], ['20'], '08112233'],
    ['ten', ['88112233', '88445566', '778899AA'], ['24', '24', '20'], '112233445566778899AA'],
  ])('one with %s bytes of UID', async (_count, levels, saks, uid) => {
    const { driver, paper } = await opened();
    paper.levels = levels.map(withBcc);
    paper.saks = saks;
    expect((await driver.findCard())?.uid).toEqual(parseHex(uid));
  });

  test.each<[string, string, string, string]>([
    ['cards that answer the call differently', REQA, '08000000', 'card/several'],
    ['two UIDs at once', 'D60436019320', '08000000', 'card/several'],
    ['two UIDs at the second level', 'D60436019520', '0A00000008', 'card/several'],
    ['a card of another kind', REQA, '0000000008000C', 'card/unsupported'],
    ['a card that takes no blocks', 'D60436019570', '000000000800', 'card/unsupported'],
    ['a cascade without its tag', 'D60436019570', '000000000804', 'card/unsupported'],
    ['a tag without its cascade', 'D60436019370', '000000000820', 'card/unsupported'],
    ['a malformed ATS', 'D6043601E080', '00000000080675', 'card/unsupported'],
    ['a call answered unreadably', REQA, '02000000', 'card/silent'],
    ['a wrong BCC', 'D60436019320', '00000000088804112200', 'card/silent'],
    ['a UID that is cut', 'D60436019320', '000000000888041122', 'card/silent'],
    ['no answer to the selection', 'D60436019370', SILENT, 'card/silent'],
    ['no answer to RATS', 'D6043601E080', SILENT, 'card/silent'],
    ['a reader that is too hot', REQA, '40000000', 'reader/failed'],
  ])('%s', async (_what, command, args, code) => {
    const { driver, paper, commands } = await opened();
    paper.instead.set(command, [args]);
    expect(await codeOf(driver.findCard())).toBe(code);
    expect(commands.at(-1)).toBe('D60600');
    paper.instead.clear();
    commands.length = 0;
    expect(await driver.findCard()).toBeDefined();
    expect(commands.slice(0, 3)).toEqual(CALLING);
  });

  test('bytes with a wrong BCC are not used to select', async () => {
    const { driver, paper, commands } = await opened();
    paper.instead.set('D60436019320', ['00000000088804112200']);
    await codeOf(driver.findCard());
    expect(commands.filter((command) => command.startsWith('D60436019370'))).toEqual([]);
  });

  test('RATS is sent a second time where its answer is lost', async () => {
    const { driver, paper } = await opened();
    paper.instead.set('D6043601E080', [SILENT, '0000000008067577810280']);
    expect(await driver.findCard()).toBeDefined();
  });
});

describe('a command', () => {
  test('goes in one block, with the card\'s own time in tenths of a millisecond', async () => {
    const { found, commands } = await withCard();
    expect(encodeHex(await found.transceive(GET_VERSION, 1000))).toBe('90600000009100');
    expect(commands).toEqual(['D6043403029060000000']);
  });

  test.each([[5], [61], [62], [251], [256]])('of %i bytes is carried out once', async (length) => {
    const { found, card, device } = await withCard();
    const command = new Uint8Array(length).fill(7);
    expect((await found.transceive(command, 1000)).length).toBe(length + 2);
    expect(card.commands).toEqual([encodeHex(command)]);
    expect(card.violations).toEqual([]);
    expect(device.sent.every((hex, at) => hex.length === 0 || hex.length % 128 !== 0 || device.sent[at + 1] === '')).toBe(true);
  });

  test('a frame that fills its last packet is ended by an empty one', async () => {
    const { found, device } = await withCard();
    // 64 bytes: 8 + 2 around a payload of 54, of which 4 stand before the block and 1 is its prologue.
    await found.transceive(new Uint8Array(49), 1000);
    const at = device.sent.findIndex((hex) => hex.length === 128);
    expect(device.sent[at + 1]).toBe('');
  });

  test.each<[string, (reply: () => Bytes, code: number) => readonly Reaction[]]>([
    ['ACK and reply in one transfer', (reply) => [concatBytes(ACK, reply())]],
    ['a reply in pieces', (reply) => [ACK, ...cut(reply(), 4)]],
    ['an answer of before its ACK', (reply) => [replyOf(0x04, '0000000008029000'), ACK, reply()]],
    ['a reply to something else', (reply) => [ACK, replyOf(0x06, '00'), reply()]],
    ['empty packets', (reply) => [new Uint8Array(), ACK, new Uint8Array(), reply()]],
    ['a stall, cleared', (reply) => [ACK, 'stall', reply()]],
  ])('is answered through %s', async (_what, react) => {
    const { found, paper, device, card } = await withCard();
    paper.react.set('D604', react);
    expect(encodeHex(await found.transceive(GET_VERSION, 1000))).toBe('90600000009100');
    // One block: nothing had to be recovered.
    expect(card.blocks).toHaveLength(1);
    expect(device.violations).toEqual([]);
  });

  test('a damaged answer is asked for again; a lost one too', async () => {
    const { found, paper, card } = await withCard();
    const faults = ['04000000', SILENT, '08000000'];
    paper.react.set('D604', (reply) => {
      const [answer, fault] = [reply(), faults.shift()];
      return [ACK, fault === undefined ? answer : replyOf(0x04, fault)];
    });
    expect(encodeHex(await found.transceive(GET_VERSION, 1000))).toBe('90600000009100');
    expect(card.commands).toHaveLength(1);
  });

  test('replies to anything but this have an end', async () => {
    const { found, paper } = await withCard();
    paper.react.set('D604', () => Array.from({ length: 50 }, () => ACK));
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('reader/failed');
  });

  test('the card is torn away, and another comes', async () => {
    const { found, paper, driver } = await withCard();
    paper.isCardThere = false;
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('card/removed');
    await found.release();
    expect(await driver.findCard()).toBeUndefined();
    paper.isCardThere = true;
    expect(await driver.findCard()).toBeDefined();
  });

  test('a card that asks for more and more time', async () => {
    const { found, paper } = await withCard();
    paper.instead.set('D604', ['0000000008F201']);
    expect(await codeOf(found.transceive(GET_VERSION, 500))).toBe('card/silent');
  });
});

const cut = (bytes: Bytes, at: number) => [bytes.slice(0, at), bytes.slice(at)];

describe('letting go', () => {
  test('presence, rest, field off', async () => {
    const { found, commands, card } = await withCard();
    expect(await found.isPresent()).toBe(true);
    await found.release();
    expect(card.isDeselected).toBe(true);
    expect(commands.at(-1)).toBe('D60600');
  });

  test('close in the middle of a command ends it; ACK, field off, device given back', async () => {
    const { found, driver, paper, device } = await withCard();
    paper.react.set('D604', () => [ACK]);
    const command = codeOf(found.transceive(GET_VERSION, 1000));
    await Promise.resolve();
    await Promise.all([driver.close(), driver.close()]);
    expect(await command).toBe('reader/failed');
    expect(device.sent.slice(-2)).toEqual(['0000FF00FF00', '0000FFFFFF0300FDD606002400']);
    expect(device.calls.slice(-2)).toEqual(['releaseInterface 0', 'close']);
    expect(device.violations).toEqual([]);
    paper.react.clear();
    await driver.open();
    expect(await driver.findCard()).toBeDefined();
  });

  test('unplugged in the middle of a transfer', async () => {
    const { found, driver, paper } = await withCard();
    paper.react.set('D604', () => ['unplug']);
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('reader/failed');
    await found.release();
    await driver.close();
    expect(await codeOf(driver.findCard())).toBe('reader/failed');
  });
});
