/** The card's end of the virtual reader, against a reader in this process. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, usableCard } from './testing/card.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { connectVpcd, keepInserted } from './vpcd.ts';
import { CONTROL, TestingReader } from './testing/vpcd-reader.ts';
import { DF_NAME_SELECT, TestingHost } from './testing/host.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommandFate, VpcdCard } from './vpcd.ts';
import type { ReaderSlot } from './testing/vpcd-reader.ts';

const SELECT = parseHex(DF_NAME_SELECT);
const OK = '9000';

let reader: TestingReader;
let card: CardUnderTest;
let inserted: VpcdCard;
let slot: ReaderSlot;

async function insert(beforeAnswer?: (command: Bytes, index: number) => CommandFate): Promise<void> {
  const fate = beforeAnswer === undefined ? {} : { beforeAnswer };
  inserted = await connectVpcd({ host: '127.0.0.1', port: reader.port, chip: card.chip, ...fate });
  slot = await reader.card();
}

/** The host's commands by way of the reader. */
function hostBehindReader(): TestingHost {
  return new TestingHost({
    process: async (command) => {
      const answer = await slot.transmit(command);
      if (answer === undefined) throw new Error('card lost');
      return answer;
    },
  });
}

beforeEach(async () => {
  reader = await TestingReader.start();
  card = new CardUnderTest(usableCard);
});

afterEach(async () => {
  inserted.remove();
  await inserted.closed;
  await reader.stop();
});

describe('frames', () => {
  it('the ATR is that of a contactless card', async () => {
    await insert();
    slot.control(CONTROL.ON);
    expect(encodeHex((await slot.atr())!)).toBe('3B8180018080');
  });

  it('commands are answered one after the other', async () => {
    await insert();
    expect(encodeHex((await slot.transmit(SELECT))!)).toBe(OK);
    expect(await slot.transmit(parseHex('9060000000'))).toHaveLength(9);
    expect(encodeHex((await slot.transmit(parseHex('00B0')))!)).toBe('6700');
  });

  it('the high length byte of the answer leaves as soon as the length of the command is there', async () => {
    await insert();
    slot.announce(SELECT.length);
    expect(encodeHex((await slot.bytes(1))!)).toBe('00');
    slot.write(SELECT);
    expect(encodeHex((await slot.bytes(3))!)).toBe(`02${OK}`);
  });

  it('it leaves once a command, however the bytes are cut', async () => {
    await insert();
    const frame = concatBytes(new Uint8Array([0, SELECT.length]), SELECT);
    for (const byte of frame) slot.write(new Uint8Array([byte]));
    expect(encodeHex((await slot.answer())!)).toBe(OK);
    slot.write(concatBytes(frame, frame, new Uint8Array([0, 1, CONTROL.ATR])));
    expect(encodeHex((await slot.answer())!)).toBe(OK);
    expect(encodeHex((await slot.answer())!)).toBe(OK);
    expect(await slot.answer()).toHaveLength(6);
  });

  it('the largest frame is a command that the chip refuses', async () => {
    await insert();
    expect(encodeHex((await slot.transmit(new Uint8Array(0xffff)))!)).toBe('6700');
  });

  it.each([
    ['no payload', '0000'],
    ['an unknown control byte', '000107'],
  ])('a frame with %s ends the connection with a reason', async (_, frame) => {
    await insert();
    slot.write(parseHex(frame));
    expect((await inserted.closed)?.message).toContain('unknown control byte');
  });

  it('a reader that goes on sending while the card is at work loses it', async () => {
    let finish: (answer: Bytes) => void = () => undefined;
    const busy = { atr: card.chip.atr, reset: () => card.chip.reset(), process: () => new Promise<Bytes>((resolve) => (finish = resolve)) };
    inserted = await connectVpcd({ host: '127.0.0.1', port: reader.port, chip: busy });
    slot = await reader.card();
    for (let i = 0; i < 4; i++) slot.write(new Uint8Array(0xffff).fill(0x10));
    await slot.gone;
    finish(parseHex(OK));
    expect((await inserted.closed)?.message).toContain('more than one command');
  });
});

describe('field loss', () => {
  it.each([
    ['power off', CONTROL.OFF],
    ['reset', CONTROL.RESET],
  ])('%s ends session and transaction', async (_, control) => {
    await insert();
    const host = hostBehindReader();
    await host.select();
    await host.authenticate(1, new Uint8Array(16));
    await host.send(0xdc, [3], parseHex('01000000'), 'full', 'mac');
    slot.control(control);
    await host.select();
    await host.authenticate(1, new Uint8Array(16));
    expect((await host.send(0xc7, [], new Uint8Array(), 'mac', 'mac')).status).toBe(0x910c);
  });

  it('a lifted card resets its chip, tells the reader, and can be put back', async () => {
    await insert();
    await slot.transmit(SELECT);
    inserted.remove();
    inserted.remove();
    expect(await inserted.closed).toBeUndefined();
    await slot.gone;
    await insert();
    // At card level again: no application is selected.
    expect(encodeHex((await slot.transmit(parseHex('906C0000010300')))!)).toBe('919D');
  });

  it('no reader is a rejection', async () => {
    await insert();
    const other = await TestingReader.start();
    await other.stop();
    await expect(connectVpcd({ host: '127.0.0.1', port: other.port, chip: card.chip })).rejects.toThrow('ECONNREFUSED');
  });
});

describe('a torn payment', () => {
  const COMMIT = 0xc7;

  async function pay(fate: CommandFate): Promise<Bytes | undefined> {
    await insert((command) => (command[1] === COMMIT ? fate : 'answer'));
    const host = hostBehindReader();
    await host.select();
    await host.authenticate(1, new Uint8Array(16));
    await host.send(0x8b, [1, 0, 0, 0, 16, 0, 0], new Uint8Array(16).fill(9), 'full', 'mac');
    await host.send(0xdc, [3], parseHex('A4010000'), 'full', 'mac');
    const commit = host.protect(COMMIT, new Uint8Array(), new Uint8Array([1]), 'mac');
    slot.announce(commit.length + 6);
    slot.write(new Uint8Array([0x90, COMMIT, 0, 0, commit.length, ...commit, 0]));
    if (fate === 'mute') return undefined;
    return slot.answer();
  }

  // An empty answer, which PC/SC takes for none: on half a length the real reader dies.
  it('lifted before the commit: not debited', async () => {
    expect(await pay('lift-before')).toHaveLength(0);
    await inserted.closed;
    expect(card.fileOf('value').value).toBe(5000);
  });

  it('lifted after the commit: debited, and the answer never arrives', async () => {
    expect(await pay('lift-after')).toHaveLength(0);
    await inserted.closed;
    expect(card.fileOf('value').value).toBe(4580);
    expect(card.fileOf('transaction-mac').counter).toBe(1);
  });

  it('muted: debited, the card still lies there, and no answer comes but the early byte', async () => {
    await pay('mute');
    expect(encodeHex((await slot.bytes(1))!)).toBe('00');
    await expect.poll(() => card.fileOf('value').value).toBe(4580);
    inserted.remove();
    inserted.remove();
    expect(encodeHex((await slot.bytes(1))!)).toBe('00');
    await slot.gone;
  });
});

describe('a card that stays', () => {
  it('waits for the reader, says so once, and is put back whenever the reader comes again', async () => {
    await insert();
    const first = await TestingReader.start();
    await first.stop();
    const states: string[] = [];
    const stop = new AbortController();
    let awake: (() => void) | undefined;
    const waited = new Promise<void>((resolve) => (awake = resolve));
    const kept = keepInserted({
      host: '127.0.0.1',
      port: first.port,
      chip: card.chip,
      signal: stop.signal,
      retryMs: { first: 1, longest: 5 },
      onChange: ({ state }) => {
        states.push(state);
        awake?.();
      },
    });
    await waited;
    const second = await TestingReader.start(first.port);
    const once = await second.card();
    expect(await once.atr()).toHaveLength(6);
    once.unplug();
    const again = await second.card();
    expect(encodeHex((await again.transmit(SELECT))!)).toBe(OK);
    stop.abort();
    await kept;
    await again.gone;
    expect(states).toEqual(['reader-away', 'inserted', 'removed', 'inserted', 'removed']);
    await second.stop();
  });

  it('that is told to stop before it began never starts', async () => {
    await insert();
    await keepInserted({ host: '127.0.0.1', port: 1, chip: card.chip, signal: AbortSignal.abort() });
  });
});
