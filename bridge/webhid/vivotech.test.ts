import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { describeCardChannel } from '../card-channel.contract.ts';
import { contractRig, FakeHidDevice, FieldCard, foundCard, QuickClock, UID } from './hid-device.fixture.ts';
import { crc16, encodeFrame, encodeReports, parseResponse, ResponseAssembly, type HidReport } from './vivotech-frames.ts';
import { createVivotech } from './vivotech.ts';

const TAG = '5669564F746563683200';
const GET_VERSION = parseHex('9060000000');
const ECHO = parseHex('80EE000002ABCD00');
const MUTE = parseHex('80DD000000');
const none = new Uint8Array();

/** A response is framed as a command is, with its status in the place of the sub-command, the CRC's most significant byte first. */
const response = (command: number, status: number, data: Uint8Array): Bytes => encodeFrame(command, status, data, 'msb-first');

/** A terminal that keeps to the guide, and can be told to misbehave. */
class Terminal {
  readonly device = new FakeHidDevice();
  readonly card = new FieldCard();
  readonly clock = new QuickClock();
  readonly driver = createVivotech(this.device, this.clock);
  /** `command-sub` of every command taken, `!` for those refused for their CRC. */
  readonly taken: string[] = [];
  crcOrder: 'msb-first' | 'lsb-first' | 'none' = 'msb-first';
  cardType = 0x01;
  /** What a card that does not answer makes the reader say; undefined: nothing. */
  muteStatus: number | undefined = undefined;
  removedStatus = 0x0a;
  /** Answers one command (`2C-3`) in another way. */
  readonly instead = new Map<string, HidReport[]>();
  /** Said before the next answer. */
  before: HidReport[] = [];
  #passThrough = false;
  #active = false;
  #received: Bytes = none;

  constructor() {
    this.device.onReport = (id, bytes) => {
      if (id === 1 || id === 2) this.#received = none;
      this.#received = concatBytes(this.#received, bytes);
      if (id === 1 || id === 4) this.#process(this.#received);
    };
  }

  say(reports: readonly HidReport[]): void {
    for (const { id, bytes } of reports) this.device.say(id, bytes);
  }

  #process(padded: Bytes): void {
    const length = 16 + ((padded[12]! << 8) | padded[13]!);
    const frame = padded.slice(0, length);
    const [command, sub] = [frame[10]!, frame[11]!];
    const name = `${command.toString(16).toUpperCase()}-${sub.toString(16)}`;
    const crc = crc16(frame.subarray(0, -2));
    const sent = (frame.at(-2)! << 8) | frame.at(-1)!;
    const order = sent === crc ? 'msb-first' : 'lsb-first';
    this.say(this.before);
    this.before = [];
    if (order !== (command === 0x2c ? this.crcOrder : 'lsb-first')) {
      this.taken.push(`${name}!`);
      this.say(encodeReports(response(command, 0x04, none)));
      return;
    }
    this.taken.push(name);
    const reply = this.instead.get(name) ?? this.#reply(command, sub, frame.slice(14, -2));
    if (reply !== undefined) this.say(reply);
  }

  #reply(command: number, sub: number, data: Bytes): HidReport[] | undefined {
    const ok = (answer: Uint8Array = none): HidReport[] => encodeReports(response(command, 0, answer));
    const status = (code: number): HidReport[] => encodeReports(response(command, code, none));
    if (command === 0x18) return ok();
    if (sub === 1) {
      this.#passThrough = data[0] === 1;
      this.#active = false;
      return ok();
    }
    if (!this.#passThrough) return status(0x0b);
    if (sub === 2) {
      // An activated card answers no new search.
      if (!this.card.there || this.#active) return status(0x08);
      this.#active = true;
      return ok(concatBytes(Uint8Array.of(this.cardType), this.card.uid));
    }
    const answer = this.#active ? this.card.process(data) : undefined;
    if (answer === undefined) return status(this.removedStatus);
    if (answer === 'mute') return this.muteStatus === undefined ? undefined : status(this.muteStatus);
    return ok(answer);
  }
}

describe('ViVOtech2 frames, as the NEO 2 guide has them', () => {
  test('ping: the CRC CDB3 goes least significant byte first, its reply FA83 most significant first', () => {
    expect(encodeHex(encodeFrame(0x18, 0x01, none, 'lsb-first'))).toBe(`${TAG}18010000B3CD`);
    expect(parseResponse(parseHex(`${TAG}18000000FA83`))).toEqual({ command: 0x18, status: 0, data: none });
  });

  test.each([
    ['pass-through on', 0x01, '01', '2C010001011D19'],
    ['pass-through off', 0x01, '00', '2C010001000D38'],
    ['poll for 200 ms', 0x02, '0014', '2C02000200140C9A'],
    ['poll for 1 s', 0x02, '0100', '2C02000201006D1E'],
    ['an APDU', 0x03, '9060000000', '2C0300059060000000A3DD'],
  ])('%s', (_, sub, data, frame) => {
    expect(encodeHex(encodeFrame(0x2c, sub, parseHex(data), 'msb-first'))).toBe(TAG + frame);
  });

  test('a frame of at most 63 bytes is report 1, padded', () => {
    const [report, ...others] = encodeReports(encodeFrame(0x2c, 3, GET_VERSION, 'msb-first'));
    expect(others).toEqual([]);
    expect(report?.id).toBe(1);
    expect(encodeHex(report!.bytes)).toBe(`${TAG}2C0300059060000000A3DD`.padEnd(126, '0'));
  });

  test.each([[63, [1]], [64, [2, 4]], [126, [2, 4]], [127, [2, 3, 4]], [1500, [2, ...Array<number>(22).fill(3), 4]]])('%i bytes take the reports %j', (length, ids) => {
    expect(encodeReports(encodeFrame(0x2c, 3, new Uint8Array(length - 16), 'msb-first')).map(({ id }) => id)).toEqual(ids);
  });

  test('more than 1500 bytes are not sent', () => {
    expect(() => encodeFrame(0x2c, 3, new Uint8Array(1485), 'msb-first')).toThrow(RangeError);
  });

  test('whatever is cut into reports is put together again', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 1484 }), fc.nat(255), fc.nat(255), (data, command, status) => {
      const assembly = new ResponseAssembly();
      const answers = encodeReports(response(command, status, data)).map((report) => assembly.accept(report));
      expect(answers.slice(0, -1).every((answer) => answer === undefined)).toBe(true);
      expect(answers.at(-1)).toEqual({ command, status, data: new Uint8Array(data) });
    }));
  });

  const good = response(0x2c, 0, parseHex('ABCD'));
  test.each<[string, Bytes]>([
    ['too short', good.slice(0, 15)],
    ['cut off', good.slice(0, -1)],
    ['with something behind it', concatBytes(good, Uint8Array.of(0))],
    ['with another tag', good.with(0, 0x57)],
    ['with another CRC', good.with(15, good[15]! ^ 1)],
    ['with a CRC in the other order', encodeFrame(0x2c, 0, parseHex('ABCD'), 'lsb-first')],
    ['that says more than it has', good.with(13, 3)],
    ['that says more than a frame may have', good.with(12, 0xff)],
  ])('a response %s is refused', (_, frame) => {
    expect(() => parseResponse(frame)).toThrow(RangeError);
  });

  test('any change of one bit is noticed', () => {
    fc.assert(fc.property(fc.nat(good.length - 1), fc.nat(7), (at, bit) => {
      expect(() => parseResponse(good.with(at, good[at]! ^ (1 << bit)))).toThrow(RangeError);
    }));
  });

  test('reports 3 and 4 that follow none are ignored; an unknown report and one too many are refused', () => {
    const assembly = new ResponseAssembly();
    expect(assembly.accept({ id: 3, bytes: new Uint8Array(63) })).toBeUndefined();
    expect(assembly.accept({ id: 4, bytes: new Uint8Array(63) })).toBeUndefined();
    expect(() => assembly.accept({ id: 5, bytes: new Uint8Array(63) })).toThrow(RangeError);
    const [first] = encodeReports(response(0x2c, 0, new Uint8Array(60)));
    expect(assembly.accept(first!)).toBeUndefined();
    expect(() => assembly.accept({ id: 3, bytes: new Uint8Array(63) })).toThrow(RangeError);
  });
});

describe.each([['nothing', undefined], ['08', 0x08]])('with a reader that says %s of a mute card', (_, muteStatus) => {
  describe.each([['0A', 0x0a], ['08', 0x08]])('and %s of a lost one', (__, removedStatus) => {
    describeCardChannel('a ViVOtech2 terminal', () => {
      const terminal = new Terminal();
      Object.assign(terminal, { muteStatus, removedStatus });
      return contractRig(terminal.driver, terminal.card);
    });
  });
});

describe('the ViVOtech2 driver', () => {
  async function opened(prepare: (terminal: Terminal) => void = () => undefined): Promise<Terminal> {
    const terminal = new Terminal();
    prepare(terminal);
    await terminal.driver.open();
    return terminal;
  }

  test('opens by a ping, pass-through off and on; finds, exchanges, lets go', async () => {
    const { driver, taken } = await opened();
    expect(taken).toEqual(['18-1', '2C-1', '2C-1']);
    const card = await foundCard(driver);
    expect(card.uid).toEqual(UID);
    expect(await card.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
    expect(await card.isPresent()).toBe(true);
    await card.release();
    expect(taken.slice(3)).toEqual(['2C-2', '2C-3', '2C-1', '2C-1']);
  });

  test('before the first command the card is looked for anew', async () => {
    const { driver, card } = await opened();
    const found = await foundCard(driver);
    expect(await found.isPresent()).toBe(true);
    card.there = false;
    expect(await found.isPresent()).toBe(false);
    expect(await driver.findCard()).toBeUndefined();
  });

  test('a card with a new random number at each contact is present; another card is not', async () => {
    const { driver, card } = await opened();
    card.uid = parseHex('08112233');
    const found = await foundCard(driver);
    card.uid = parseHex('08445566');
    expect(await found.isPresent()).toBe(true);
    card.uid = parseHex('04AABBCCDDEEFF');
    expect(await found.isPresent()).toBe(false);
  });

  test('a reader that wants the CRC the other way round says so once: no card command is repeated', async () => {
    const terminal = await opened((other) => { other.crcOrder = 'lsb-first'; });
    expect(terminal.taken).toEqual(['18-1', '2C-1!', '2C-1', '2C-1']);
    const card = await foundCard(terminal.driver);
    await card.transceive(ECHO, 500);
    expect(terminal.taken.slice(4)).toEqual(['2C-2', '2C-3']);
  });

  test('a reader that changes its mind in the middle gets the refused command in the other order, and the card gets it once', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    terminal.crcOrder = 'lsb-first';
    expect(await card.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
    expect(terminal.taken.slice(-2)).toEqual(['2C-3!', '2C-3']);
    expect(terminal.card.commands).toEqual([encodeHex(ECHO)]);
  });

  test('a reader that refuses both orders has failed', async () => {
    const terminal = new Terminal();
    terminal.crcOrder = 'none';
    await expect(terminal.driver.open()).rejects.toMatchObject({ code: 'reader/failed' });
    expect(terminal.taken).toEqual(['18-1', '2C-1!', '2C-1!', '2C-1!', '2C-1!']);
  });

  test.each([0x02, 0x03, 0x06, 0x0b, 0x0c])('a terminal whose owner has locked pass-through (status %i) lacks permission', async (status) => {
    const terminal = new Terminal();
    terminal.instead.set('2C-1', encodeReports(response(0x2c, status, none)));
    await expect(terminal.driver.open()).rejects.toMatchObject({ code: 'reader/permission' });
  });

  test('a terminal that keeps the card\'s answer to itself (SRED) lacks permission', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    terminal.instead.set('2C-3', encodeReports(response(0x2c, 0x06, none)));
    await expect(card.transceive(ECHO, 500)).rejects.toMatchObject({ code: 'reader/permission' });
  });

  test.each([
    ['a card without ISO/IEC 14443-4', '2C-2', response(0x2c, 0, parseHex('0504112233')), 'card/unsupported'],
    ['a card that could not be made ready', '2C-2', response(0x2c, 0x0a, none), 'card/silent'],
    ['a poll answered with nothing', '2C-2', response(0x2c, 0, none), 'reader/failed'],
    ['a poll refused for its parameters', '2C-2', response(0x2c, 0x05, none), 'reader/failed'],
    ['a poll answered with a wrong CRC', '2C-2', response(0x2c, 0, none).with(15, 1), 'reader/failed'],
  ])('%s', async (_, command, frame, code) => {
    const terminal = await opened();
    terminal.instead.set(command, encodeReports(frame));
    await expect(terminal.driver.findCard()).rejects.toMatchObject({ code });
  });

  test('type 00 is no card; an unusual UID is left out', async () => {
    const terminal = await opened();
    terminal.instead.set('2C-2', encodeReports(response(0x2c, 0, parseHex('00'))));
    expect(await terminal.driver.findCard()).toBeUndefined();
    terminal.instead.set('2C-2', encodeReports(response(0x2c, 0, parseHex('010102'))));
    expect((await foundCard(terminal.driver)).uid).toBeUndefined();
  });

  test.each([
    ['one byte', response(0x2c, 0, parseHex('90'))],
    ['an unknown status', response(0x2c, 0x55, none)],
    ['a wrong CRC', response(0x2c, 0, parseHex('9000')).with(17, 1)],
  ])('an answer of %s is the reader\'s failure', async (_, frame) => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    terminal.instead.set('2C-3', encodeReports(frame));
    await expect(card.transceive(ECHO, 500)).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('an answer that comes too late is not taken for the next one', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    await expect(card.transceive(MUTE, 700)).rejects.toMatchObject({ code: 'card/silent' });
    terminal.before = encodeReports(response(0x2c, 0, parseHex('DEAD9100')));
    await card.release();
    expect(terminal.taken.slice(-3)).toEqual(['18-1', '2C-1', '2C-1']);
    expect(await (await foundCard(terminal.driver)).transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
  });

  test('stale reports are dropped when it is opened and before a request; what it says unasked is skipped', async () => {
    const terminal = new Terminal();
    const [first, last] = encodeReports(response(0x2c, 0, new Uint8Array(60)));
    terminal.before = [last!, { id: 9, bytes: new Uint8Array(63) }, first!];
    await terminal.driver.open();
    const card = await foundCard(terminal.driver);
    terminal.say(encodeReports(response(0x2c, 0, parseHex('DEAD9100'))));
    terminal.before = encodeReports(response(0x03, 0x0e, parseHex('01')));
    expect(await card.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
  });

  test('a reader that answers nothing is not opened', async () => {
    const terminal = new Terminal();
    terminal.device.onReport = () => undefined;
    await expect(terminal.driver.open()).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('unplugged in the middle of an answer: the reader failed', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    terminal.instead.set('2C-3', encodeReports(response(0x2c, 0, new Uint8Array(100))).slice(0, 1));
    const waiting = card.transceive(ECHO, 10_000);
    await new Promise(setImmediate);
    terminal.device.unplug();
    await expect(waiting).rejects.toThrow('unplugged');
    expect(await card.isPresent()).toBe(false);
    await card.release();
    await expect(terminal.driver.findCard()).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('closed in the middle of a command: it fails, the field goes off, and the reader can be opened anew', async () => {
    const terminal = await opened();
    const waiting = expect((await foundCard(terminal.driver)).transceive(MUTE, 10_000)).rejects.toThrow('closed');
    await terminal.driver.close();
    await waiting;
    expect(terminal.device.sent.at(-1)).toBe(`1:${`${TAG}2C010001000D38`.padEnd(126, '0')}`);
    expect(terminal.device.listeners.size).toBe(0);
    await terminal.driver.open();
    expect((await foundCard(terminal.driver)).uid).toEqual(UID);
  });
});
