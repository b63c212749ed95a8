import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { describeCardChannel } from '../card-channel.contract.ts';
import { encodeControl, encodeMessage, MessageAssembly, PACKET_BYTES, TAG } from './apdu-hid-packets.ts';
import { createApduHid } from './apdu-hid.ts';
import { contractRig, FakeHidDevice, FieldCard, foundCard, QuickClock, UID } from './hid-device.fixture.ts';

const GET_VERSION = parseHex('9060000000');
const ECHO = parseHex('80EE000002ABCD00');
const MUTE = parseHex('80DD000000');
const padded = (hex: string): string => hex.replace(/ /g, '').padEnd(2 * PACKET_BYTES, '0');

/** A reader that keeps to docs/apdu-hid.md, and can be told to misbehave. */
class ProfileReader {
  readonly device = new FakeHidDevice();
  readonly card = new FieldCard();
  readonly clock = new QuickClock();
  readonly driver = createApduHid(this.device, this.clock);
  channel = 0x0101;
  version = '00000000';
  #active = false;
  #assembly = new MessageAssembly(0x0101, 300);
  /** Changes the packets of an answer before they go out. */
  distort: (packets: Bytes[]) => Bytes[] = (packets) => packets;
  /** Answers instead of the card. */
  instead: Bytes | undefined;
  messages = 0;

  constructor() {
    this.device.onReport = (_, packet) => this.#receive(packet);
  }

  #receive(packet: Bytes): void {
    const answer = packet.slice();
    const tag = packet[2] ?? 0;
    if (tag === TAG.version) answer.set(parseHex(this.version), 3);
    if (tag === TAG.allocate) {
      this.channel = this.channel === 0x1234 ? 0x5678 : 0x1234;
      answer.set([this.channel >> 8, this.channel & 0xff, 0, 0], 3);
      this.#active = false;
      this.#assembly = new MessageAssembly(this.channel, 300);
    }
    if (tag !== TAG.message) {
      this.device.say(0, answer);
      return;
    }
    const message = this.#assembly.accept(packet);
    if (message === undefined) return;
    this.#assembly = new MessageAssembly(this.channel, 300);
    this.messages++;
    const reply = this.instead ?? this.#answer(message);
    if (reply === 'mute') return;
    for (const part of this.distort(encodeMessage(this.channel, reply))) this.device.say(0, part);
  }

  #answer(message: Bytes): Bytes | 'mute' {
    if (encodeHex(message) === 'FFCA000000') {
      if (this.#active && !this.card.there) this.#active = false;
      else this.#active = this.card.there;
      return this.#active ? concatBytes(this.card.uid, parseHex('9000')) : new Uint8Array();
    }
    const answer = this.#active ? this.card.process(message) : undefined;
    if (answer === undefined) this.#active = false;
    return answer ?? new Uint8Array();
  }
}

describe('packets of APDU over HID', () => {
  test('a short command is one packet: channel, tag 05, sequence 0, length', () => {
    expect(encodeMessage(0x1234, GET_VERSION).map(encodeHex)).toEqual([padded('1234 05 0000 0005 9060000000')]);
    expect(encodeMessage(0x0101, new Uint8Array()).map(encodeHex)).toEqual([padded('0101 05 0000 0000')]);
  });

  test('57 bytes fit the first packet, 59 each later one', () => {
    const data = Uint8Array.from({ length: 57 + 59 + 1 }, (_, index) => index);
    const packets = encodeMessage(0x0101, data).map(encodeHex);
    expect(packets).toEqual([
      `01010500000075${encodeHex(data.subarray(0, 57))}`,
      `0101050001${encodeHex(data.subarray(57, 116))}`,
      padded(`0101050002${encodeHex(data.subarray(116))}`),
    ]);
    expect(encodeMessage(1, data.subarray(0, 57))).toHaveLength(1);
    expect(encodeMessage(1, data.subarray(0, 58))).toHaveLength(2);
  });

  test('a control packet carries its payload after the tag', () => {
    expect(encodeHex(encodeControl(0x0101, TAG.allocate, parseHex('00000000A1B2C3D4E5F60718')))).toBe(padded('0101 01 00000000 A1B2C3D4E5F60718'));
    expect(() => encodeControl(1, 1, new Uint8Array(62))).toThrow(RangeError);
  });

  test('whatever is cut up is put together again', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 700 }), fc.integer({ min: 0, max: 0xffff }), (data, channel) => {
      const assembly = new MessageAssembly(channel, 700);
      const answers = encodeMessage(channel, data).map((packet) => assembly.accept(packet));
      expect(answers.slice(0, -1).every((answer) => answer === undefined)).toBe(true);
      expect(answers.at(-1)).toEqual(new Uint8Array(data));
    }));
  });

  test.each([
    ['too short', parseHex('0101050000')],
    ['too long', new Uint8Array(65)],
    ['of another channel', encodeMessage(0x0102, ECHO)[0]!],
    ['of another tag', encodeControl(0x0101, TAG.ping, new Uint8Array())],
    ['that begins in the middle', encodeMessage(0x0101, new Uint8Array(100))[1]!],
    ['of a message that is too long', encodeMessage(0x0101, new Uint8Array(301))[0]!],
  ])('a packet %s is refused', (_, packet) => {
    expect(() => new MessageAssembly(0x0101, 300).accept(packet)).toThrow(RangeError);
  });

  test('a packet that comes twice, or before its turn, is refused', () => {
    const [first, second, third] = encodeMessage(0x0101, new Uint8Array(150)) as [Bytes, Bytes, Bytes];
    for (const wrong of [first, third]) {
      const assembly = new MessageAssembly(0x0101, 300);
      assembly.accept(first);
      expect(() => assembly.accept(wrong)).toThrow(RangeError);
    }
    const assembly = new MessageAssembly(0x0101, 300);
    assembly.accept(first);
    assembly.accept(second);
    expect(assembly.accept(third)).toHaveLength(150);
  });
});

describeCardChannel('an APDU-over-HID reader', () => {
  const { driver, card } = new ProfileReader();
  return contractRig(driver, card);
});

describe('the APDU-over-HID driver', () => {
  async function opened(): Promise<ProfileReader> {
    const reader = new ProfileReader();
    await reader.driver.open();
    return reader;
  }

  test('opens by ping, version and allocation, and speaks on the channel that it was given', async () => {
    const { device, driver } = await opened();
    expect(device.sent.map((report) => report.slice(0, 8))).toEqual(['0:010102', '0:010100', '0:010101']);
    expect((await foundCard(driver)).uid).toEqual(UID);
    expect(device.sent.at(-1)).toBe(`0:${padded('1234 05 0000 0005 FFCA000000')}`);
  });

  test('a card is found, exchanged with, looked for, and let go by a new allocation', async () => {
    const { device, driver, card } = await opened();
    const found = await foundCard(driver);
    expect(await found.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
    expect(await found.isPresent()).toBe(true);
    await found.release();
    expect(device.sent.at(-1)?.slice(0, 8)).toBe('0:123401');
    expect(await (await foundCard(driver)).isPresent()).toBe(true);
    expect(card.commands).toEqual([encodeHex(ECHO)]);
  });

  test('no card is undefined, a lifted one is no longer present', async () => {
    const { driver, card } = await opened();
    const found = await foundCard(driver);
    card.there = false;
    expect(await found.isPresent()).toBe(false);
    expect(await driver.findCard()).toBeUndefined();
  });

  test('another card in its place is not the same card', async () => {
    const { driver, card } = await opened();
    const found = await foundCard(driver);
    card.uid = parseHex('04AABBCCDDEEFF');
    expect(await found.isPresent()).toBe(false);
  });

  test.each([
    ['02', 'card/several'],
    ['03', 'card/unsupported'],
    ['01', 'card/silent'],
    ['04', 'reader/failed'],
    ['9000', 'reader/failed'],
    ['0411229000', 'reader/failed'],
    ['041122334455666A82', 'reader/failed'],
  ])('the answer %s to get UID is %s', async (hex, code) => {
    const reader = await opened();
    reader.instead = parseHex(hex);
    await expect(reader.driver.findCard()).rejects.toMatchObject({ code });
  });

  test.each(['', '6300', '6A81'])('the answer "%s" to get UID is no card', async (hex) => {
    const reader = await opened();
    reader.instead = parseHex(hex);
    expect(await reader.driver.findCard()).toBeUndefined();
  });

  test.each([
    ['', 'card/removed'],
    ['01', 'card/silent'],
    ['04', 'reader/failed'],
    ['00'.repeat(259), 'reader/failed'],
  ])('the answer "%s" to a command is %s', async (hex, code) => {
    const reader = await opened();
    const card = await foundCard(reader.driver);
    reader.instead = parseHex(hex);
    await expect(card.transceive(ECHO, 500)).rejects.toMatchObject({ code });
  });

  test.each<[string, (packets: Bytes[]) => Bytes[]]>([
    ['a wrong sequence number', ([first]) => [first!.with(4, 1)]],
    ['another channel', ([first]) => [first!.with(1, 0x35)]],
    ['another tag', ([first]) => [first!.with(2, 2)]],
    ['a report of another length', ([first]) => [first!.slice(0, 63)]],
  ])('an answer with %s is the reader\'s failure, and the command is not sent again', async (_, distort) => {
    const reader = await opened();
    const card = await foundCard(reader.driver);
    reader.distort = distort;
    await expect(card.transceive(ECHO, 500)).rejects.toMatchObject({ code: 'reader/failed' });
    expect(reader.card.commands).toEqual([encodeHex(ECHO)]);
  });

  test('a mute card is silent after the limit, and its late answer is not taken for another\'s', async () => {
    const reader = await opened();
    const card = await foundCard(reader.driver);
    const before = reader.clock.now();
    await expect(card.transceive(MUTE, 700)).rejects.toMatchObject({ code: 'card/silent' });
    expect(reader.clock.now() - before).toBe(700);
    reader.device.say(0, encodeMessage(reader.channel, parseHex('DEAD9100'))[0]!);
    await card.release();
    expect(await (await foundCard(reader.driver)).transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
  });

  test('stale reports before the answers of opening, and before a request, are dropped', async () => {
    const reader = new ProfileReader();
    const honest = reader.device.onReport;
    reader.device.onReport = (id, bytes) => {
      if (!reader.device.opened || bytes[2] !== TAG.message) for (const stale of encodeMessage(0x0101, new Uint8Array(100))) reader.device.say(0, stale);
      honest(id, bytes);
    };
    await reader.driver.open();
    const card = await foundCard(reader.driver);
    reader.device.say(0, encodeMessage(reader.channel, parseHex('DEAD9100'))[0]!);
    expect(await card.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
  });

  test('an allocation that answers an earlier page does not give us its channel', async () => {
    const reader = new ProfileReader();
    const honest = reader.device.onReport;
    reader.device.onReport = (id, bytes) => {
      reader.device.say(0, parseHex(padded('0101 01 9999 0000 A1B2C3D4E5F60718')));
      honest(id, bytes);
    };
    await reader.driver.open();
    reader.device.onReport = honest;
    expect(await (await foundCard(reader.driver)).transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
    expect(reader.device.sent.at(-1)?.slice(0, 8)).toBe('0:123405');
  });

  test.each([
    ['says nothing', (reader: ProfileReader) => { reader.device.onReport = () => undefined; }],
    ['has another version', (reader: ProfileReader) => { reader.version = '00000001'; }],
    ['takes no reports', (reader: ProfileReader) => { reader.device.stuck = true; }],
  ])('a reader that %s is not opened', async (_, misbehave) => {
    const reader = new ProfileReader();
    misbehave(reader);
    await expect(reader.driver.open()).rejects.toMatchObject({ code: 'reader/failed' });
    await reader.driver.close();
    expect(reader.device.opened).toBe(false);
  });

  test('unplugged in the middle of a command: the reader failed, at once', async () => {
    const reader = await opened();
    const card = await foundCard(reader.driver);
    const waiting = card.transceive(MUTE, 10_000);
    const before = reader.clock.now();
    reader.device.unplug();
    await expect(waiting).rejects.toMatchObject({ code: 'reader/failed', message: expect.stringContaining('unplugged') as string });
    expect(reader.clock.now() - before).toBeLessThan(500);
    await card.release();
    await expect(reader.driver.findCard()).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('closed in the middle of a command: it fails, the field goes off, and the reader can be opened anew', async () => {
    const reader = await opened();
    const waiting = (await foundCard(reader.driver)).transceive(MUTE, 10_000);
    const refusal = expect(waiting).rejects.toMatchObject({ code: 'reader/failed', message: expect.stringContaining('closed') as string });
    await Promise.all([reader.driver.close(), reader.driver.close()]);
    await refusal;
    expect(reader.device.sent.at(-1)?.slice(0, 8)).toBe('0:123401');
    expect(reader.device.listeners.size).toBe(0);
    await reader.driver.open();
    expect((await foundCard(reader.driver)).uid).toEqual(UID);
  });
});
