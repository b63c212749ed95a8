import { describe, expect, test } from 'vitest';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { describeCardChannel } from '../card-channel.contract.ts';
import { contractRig, FakeHidDevice, FieldCard, foundCard, QuickClock, UID } from './hid-device.fixture.ts';
import { encodeReports, encodeTlv, MessageAssembly, parseMessage, parseTlvs } from './magtek-messages.ts';
import { createMagtek } from './magtek.ts';

const ECHO = parseHex('80EE000002ABCD00');
const MUTE = parseHex('80DD000000');
const TEAR = parseHex('80DE000000');

const number = (command: number): Bytes => Uint8Array.of(command >> 8, command & 0xff);
const response = (reference: number, command: number, status: string, parameters: Uint8Array): Bytes =>
  concatBytes(parseHex('AA00'), encodeTlv(0x81, concatBytes(Uint8Array.of(0x82, reference), number(command))), encodeTlv(0x82, parseHex(status)), encodeTlv(0x84, concatBytes(number(command), parameters)));
const notification = (id: number, detail: string, payload?: Uint8Array): Bytes =>
  concatBytes(parseHex('AA00'), encodeTlv(0x81, concatBytes(Uint8Array.of(0x83, 0), number(id))), encodeTlv(0x82, parseHex(detail)), payload === undefined ? new Uint8Array() : encodeTlv(0x84, concatBytes(number(id), payload)));
const wrapped = (data: Uint8Array): Bytes => encodeTlv(0xfc, encodeTlv(0xdf7a, data));
const uidNotification = (uid: Uint8Array): Bytes => notification(0x0101, '20080402', encodeTlv(0x84, wrapped(uid)));
const REMOVED = notification(0x0101, '20010300');

/** A terminal that does as the manual and the vendor's demo say, and can be told to misbehave. */
class Terminal {
  readonly device = new FakeHidDevice();
  readonly card = new FieldCard();
  readonly clock = new QuickClock();
  readonly driver = createMagtek(this.device, this.clock);
  readonly commands: string[] = [];
  /** Whether it answers 6400 for a card that does not answer. */
  tellsMute = false;
  /** Whether it tells that a card has left. */
  tellsRemoval = true;
  wrap: (data: Uint8Array) => Uint8Array = wrapped;
  /** Operation status of a command. */
  readonly status = new Map<string, string>();
  /** Said once before the next response. */
  before: Uint8Array[] = [];
  /** What lies there says this when a transaction starts; by default the card's UID. */
  detected: Uint8Array[] | undefined;
  transaction = false;
  lastReference = 0;
  readonly #assembly = new MessageAssembly();

  constructor() {
    this.device.onReport = (_, report) => {
      const message = this.#assembly.accept(report);
      if (message !== undefined) this.#process(message);
    };
  }

  say(message: Uint8Array): void {
    for (const report of encodeReports(message)) this.device.say(0, report);
  }

  lift(): void {
    this.card.there = false;
    if (this.tellsRemoval) this.say(REMOVED);
  }

  #process(message: Bytes): void {
    const { reference, command, payload } = parseMessage(message);
    this.lastReference = reference;
    const name = command.toString(16);
    this.commands.push(name);
    for (const stale of this.before) this.say(stale);
    this.before = [];
    const status = this.status.get(name);
    const answer = (parameters: Uint8Array = new Uint8Array()): void => this.say(response(reference, command, status ?? '00000000', parameters));
    if (status !== undefined && status.startsWith('8')) answer();
    else if (command === 0x1102) this.#passThrough(parseTlvs(payload)[0]!.value, answer);
    else if (command === 0x1001) {
      this.transaction = true;
      answer();
      for (const news of this.detected ?? (this.card.there ? [notification(0x0101, '20010400'), uidNotification(this.card.uid)] : [])) this.say(news);
    } else {
      this.transaction = false;
      answer();
    }
  }

  #passThrough(command: Bytes, answer: (parameters: Uint8Array) => void): void {
    const reply = this.card.process(command);
    if (reply === undefined && this.tellsRemoval) this.say(REMOVED);
    if (reply === 'mute' && !this.tellsMute) return;
    if (reply === undefined || reply === 'mute') answer(parseHex('81026400'));
    else answer(concatBytes(encodeTlv(0x81, reply.slice(-2)), encodeTlv(0x82, this.wrap(reply.slice(0, -2)))));
  }
}

describe.each([['6400', true], ['nothing', false]])('with a terminal that says %s of a mute card', (_, tellsMute) => {
  describe.each([['tells', true], ['does not tell', false]])('and %s that a card has left', (__, tellsRemoval) => {
    describeCardChannel('a MagTek terminal', () => {
      const terminal = new Terminal();
      Object.assign(terminal, { tellsMute, tellsRemoval });
      return contractRig(terminal.driver, terminal.card);
    });
  });
});

describe('the MagTek driver', () => {
  async function opened(prepare: (terminal: Terminal) => void = () => undefined): Promise<Terminal> {
    const terminal = new Terminal();
    prepare(terminal);
    await terminal.driver.open();
    return terminal;
  }

  test('cancels when it opens, starts a transaction to find, and cancels to let go', async () => {
    const { driver, commands } = await opened();
    const card = await foundCard(driver);
    expect(card.uid).toEqual(UID);
    expect(await card.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
    expect(await card.isPresent()).toBe(true);
    await card.release();
    expect(commands).toEqual(['1008', '1001', '1102', '1008']);
  });

  test('that there was no transaction to cancel is as good', async () => {
    const { driver } = await opened((terminal) => terminal.status.set('1008', '81020000'));
    expect((await foundCard(driver)).uid).toEqual(UID);
  });

  test('without a card one transaction goes on from look to look, until the terminal ends it', async () => {
    const terminal = await opened((other) => { other.card.there = false; });
    expect(await terminal.driver.findCard()).toBeUndefined();
    expect(await terminal.driver.findCard()).toBeUndefined();
    expect(terminal.commands).toEqual(['1008', '1001']);
    terminal.say(uidNotification(UID));
    expect((await foundCard(terminal.driver)).uid).toEqual(UID);
    terminal.say(notification(0x0105, '00000000'));
    expect(await terminal.driver.findCard()).toBeUndefined();
    expect(terminal.commands).toEqual(['1008', '1001', '1001']);
  });

  test('news that a card left, or that the transaction is over, end its presence without a question', async () => {
    for (const news of [REMOVED, notification(0x0105, '00000000'), uidNotification(UID)]) {
      const terminal = await opened();
      const card = await foundCard(terminal.driver);
      terminal.say(news);
      expect(await card.isPresent()).toBe(false);
      await expect(card.transceive(ECHO, 500)).rejects.toMatchObject({ code: 'card/removed' });
      expect(terminal.card.commands).toEqual([]);
    }
  });

  test('a card that nobody has spoken to for long is found anew before the terminal gives it up', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    terminal.clock.pass(21_000);
    expect(await card.isPresent()).toBe(true);
    expect(terminal.commands).toEqual(['1008', '1001', '1008', '1001']);
    expect(await card.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
    terminal.clock.pass(21_000);
    expect(await card.isPresent()).toBe(true);
    expect(terminal.commands).toHaveLength(5);
  });

  test.each([
    ['a payment card', '20010400', 'card/unsupported'],
    ['an Ultralight', '20010401', 'card/unsupported'],
    ['a Classic', '20010402', 'card/unsupported'],
    ['two cards', '20010500', 'card/several'],
  ])('%s: %s is %s', async (_, detail, code) => {
    const terminal = await opened((other) => { other.detected = [notification(0x0101, detail)]; });
    await expect(terminal.driver.findCard()).rejects.toMatchObject({ code });
    terminal.detected = undefined;
    expect((await foundCard(terminal.driver)).uid).toEqual(UID);
  });

  test('notifications of other technologies and kinds are nothing to us', async () => {
    const terminal = await opened((other) => {
      other.detected = [notification(0x0101, '10010300'), notification(0x1803, '00000000'), notification(0x0101, '20100101'), uidNotification(UID)];
    });
    expect((await foundCard(terminal.driver)).uid).toEqual(UID);
  });

  test.each([['bare', (data: Uint8Array) => data], ['wrapped', wrapped]])('data may come %s, in several reports', async (_, wrap) => {
    const terminal = await opened((other) => { other.wrap = wrap; });
    const data = 'C3'.repeat(200);
    expect(encodeHex(await (await foundCard(terminal.driver)).transceive(parseHex(`80EE0000C8${data}00`), 500))).toBe(`${data}9100`);
  });

  test('a card that leaves during a command: the last answer is waited for shortly, not the whole limit', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    const before = terminal.clock.now();
    const waiting = card.transceive(MUTE, 10_000);
    await Promise.resolve();
    terminal.lift();
    await expect(waiting).rejects.toMatchObject({ code: 'card/removed' });
    expect(terminal.clock.now() - before).toBeLessThan(1_000);
  });

  test('6400 without news: the card is looked for, and only its command\'s fate is left open', async () => {
    const terminal = await opened((other) => Object.assign(other, { tellsMute: true, tellsRemoval: false }));
    const card = await foundCard(terminal.driver);
    await expect(card.transceive(MUTE, 5_000)).rejects.toMatchObject({ code: 'card/silent' });
    await card.release();
    await expect((await foundCard(terminal.driver)).transceive(TEAR, 5_000)).rejects.toMatchObject({ code: 'card/removed' });
    expect(terminal.card.commands).toEqual([encodeHex(MUTE), encodeHex(TEAR)]);
  });

  test('no limit is longer than the terminal\'s own', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    const before = terminal.clock.now();
    await expect(card.transceive(MUTE, 60_000)).rejects.toMatchObject({ code: 'card/silent' });
    expect(terminal.clock.now() - before).toBe(30_000);
  });

  test.each([['1001', '80010109'], ['1102', '81000002']])('command %s that fails with %s is the reader\'s failure', async (command, status) => {
    const terminal = await opened();
    const act = async (): Promise<unknown> => (await foundCard(terminal.driver)).transceive(ECHO, 5_000);
    terminal.status.set(command, status);
    await expect(act()).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('responses with another number or to another command are not ours', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    const next = (terminal.lastReference + 1) & 0xff;
    const dead = parseHex('810291008202DEAD');
    terminal.before = [response(next ^ 1, 0x1102, '00000000', dead), response(next, 0x1100, '00000000', dead)];
    terminal.say(response(next, 0x1102, '00000000', dead));
    expect(await card.transceive(ECHO, 500)).toEqual(parseHex('ABCD9100'));
  });

  test('the rest of a message to an earlier user does not hinder opening; nonsense later is the reader\'s failure', async () => {
    const terminal = new Terminal();
    const honest = terminal.device.onReport;
    terminal.device.onReport = (id, bytes) => {
      terminal.device.say(0, encodeReports(new Uint8Array(200))[2]!);
      honest(id, bytes);
    };
    await terminal.driver.open();
    await expect(terminal.driver.findCard()).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('a terminal that answers nothing is not opened', async () => {
    const terminal = new Terminal();
    terminal.device.onReport = () => undefined;
    await expect(terminal.driver.open()).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('unplugged in the middle of a command: the reader failed', async () => {
    const terminal = await opened();
    const card = await foundCard(terminal.driver);
    const waiting = card.transceive(MUTE, 10_000);
    await new Promise(setImmediate);
    terminal.device.unplug();
    await expect(waiting).rejects.toThrow('unplugged');
    await card.release();
    await expect(terminal.driver.findCard()).rejects.toMatchObject({ code: 'reader/failed' });
  });

  test('closed in the middle of a command: it fails, the transaction is cancelled, and the reader can be opened anew', async () => {
    const terminal = await opened();
    const waiting = expect((await foundCard(terminal.driver)).transceive(MUTE, 10_000)).rejects.toThrow('closed');
    await terminal.driver.close();
    await waiting;
    expect(terminal.commands.at(-1)).toBe('1008');
    expect(terminal.device.listeners.size).toBe(0);
    await terminal.driver.open();
    expect((await foundCard(terminal.driver)).uid).toEqual(UID);
  });
});
