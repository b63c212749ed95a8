/** The APDU-over-HID reader against its page, docs/apdu-hid.md, line by line. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { ApduHidDevice } from './apdu-hid-device.ts';
import { ContactlessField } from '../field.ts';
import { fieldWithCard, hex, TestingHidHost, trimmed } from './testing-hid-host.ts';
import { MAX_MESSAGE_BYTES, MessageAssembler, splitIntoPackets, uint16At } from './apdu-hid-packet.ts';
import { Picc } from '../picc.ts';
import type { Bytes } from '#protocol/bytes.ts';

const TOKEN = 'A1B2C3D4E5F60718';
const GET_UID = 'FFCA000000';

async function allocate(host: TestingHidHost): Promise<number> {
  await host.send(`0101 01 00000000 ${TOKEN}`);
  const reply = await host.next();
  expect(encodeHex(reply)).toMatch(new RegExp(`^010101.{4}0000${TOKEN}0+$`));
  return uint16At(reply, 3);
}

async function send(host: TestingHidHost, channel: number, message: string | Bytes): Promise<void> {
  for (const packet of splitIntoPackets(channel, typeof message === 'string' ? hex(message) : message)) await host.send(packet);
}

async function receive(host: TestingHidHost, channel: number): Promise<string> {
  const messages = new MessageAssembler();
  for (;;) {
    const packet = await host.next();
    expect([uint16At(packet, 0), packet[2]]).toEqual([channel, 0x05]);
    const message = messages.push(packet);
    if (message !== undefined) return encodeHex(message);
  }
}

async function ask(host: TestingHidHost, channel: number, message: string | Bytes): Promise<string> {
  await send(host, channel, message);
  return receive(host, channel);
}

async function opened() {
  const setting = fieldWithCard();
  const host = new TestingHidHost(new ApduHidDevice({ field: setting.field }));
  return { ...setting, host, channel: await allocate(host) };
}

describe('the device', () => {
  it('is of usage page FFA0, with product and serial number', () => {
    const { descriptors } = new ApduHidDevice({ field: new ContactlessField() });
    expect(encodeHex(descriptors.device).slice(16, 24)).toBe('0912D0A9');
    expect(encodeHex(descriptors.hidReport!)).toBe('06A0FF0901A101150026FF007508954009208102954009219102C0');
    expect(descriptors.strings.every((text) => text !== '')).toBe(true);
  });

  it('answers version and ping on any channel with the bytes that came', async () => {
    const host = new TestingHidHost(new ApduHidDevice({ field: new ContactlessField() }));
    await host.send(`0101 00 FFFFFFFF ${TOKEN}`);
    expect(trimmed(await host.next())).toBe(`01010000000000${TOKEN}`);
    await host.send(`7777 02 ${TOKEN}`);
    expect(trimmed(await host.next())).toBe(`777702${TOKEN}`);
  });

  it('allocates another channel each time, never 0000 or 0101', async () => {
    const host = new TestingHidHost(new ApduHidDevice({ field: new ContactlessField() }));
    let before = 0;
    for (let i = 0; i < 200; i++) {
      const channel = await allocate(host);
      expect([0, 0x0101, before]).not.toContain(channel);
      before = channel;
    }
  });

  it('gives the UID, answers GetVersion, and has lost the card, as in the example of the page', async () => {
    const { host, field, application, channel } = await opened();
    expect(await ask(host, channel, GET_UID)).toBe('041122334455669000');
    application.answer = () => parseHex('0401013300160591AF');
    expect(await ask(host, channel, '9060000000')).toBe('0401013300160591AF');
    field.lift();
    expect(await ask(host, channel, '90AF000000')).toBe('');
    expect(application.heard).toEqual(['9060000000']);
  });

  it('cuts answers as the page says', async () => {
    const { host, application, channel } = await opened();
    await ask(host, channel, GET_UID);
    application.answer = () => concatBytes(new Uint8Array(58).fill(0xee), parseHex('9000'));
    await send(host, channel, '9060000000');
    expect(encodeHex(await host.next())).toBe(`${channel.toString(16).padStart(4, '0').toUpperCase()}050000003C${'EE'.repeat(57)}`);
    expect(trimmed(await host.next())).toBe(`${channel.toString(16).padStart(4, '0').toUpperCase()}050001EE90`);
  });

  it('carries every length both ways', async () => {
    const { host, application, channel } = await opened();
    await ask(host, channel, GET_UID);
    for (let length = 4; length <= 261; length += 5) {
      const command = Uint8Array.from({ length }, (_, i) => (i + 1) & 0x7f);
      application.answer = () => new Uint8Array(Math.min(262 - length + 1, 258)).fill(0x91);
      expect(await ask(host, channel, command)).toBe('91'.repeat(Math.min(262 - length + 1, 258)));
      expect(application.heard.at(-1)).toBe(encodeHex(command));
    }
  });
});

describe('sessions', () => {
  it('end with allocate: the card forgets, what is under way is dropped, the old channel is deaf', async () => {
    const { host, application, card, channel } = await opened();
    await ask(host, channel, GET_UID);
    card.wtxStorm = Infinity;
    await send(host, channel, '9060000000');
    const other = await allocate(host);
    card.wtxStorm = 0;
    expect(await host.rest()).toEqual([]);
    expect(application.resets).toBeGreaterThan(0);
    await send(host, channel, GET_UID);
    expect(await host.rest()).toEqual([]);
    expect(await ask(host, other, '9060000000')).toBe('');
    expect(await ask(host, other, GET_UID)).toBe('041122334455669000');
  });

  it('ask an active card only whether it is there, and tell of a card that left before another is taken', async () => {
    const { host, field, application, card, channel } = await opened();
    await ask(host, channel, GET_UID);
    const resets = application.resets;
    expect(await ask(host, channel, GET_UID)).toBe('041122334455669000');
    expect(application.resets).toBe(resets);
    field.lift();
    field.put(card);
    expect(await ask(host, channel, GET_UID)).toBe('');
    expect(await ask(host, channel, '9060000000')).toBe('');
    expect(await ask(host, channel, GET_UID)).toBe('041122334455669000');
  });

  it('tell no card, two cards, a card that falls silent, and a reader that cannot', async () => {
    const { host, field, application, channel } = await opened();
    const other = new Picc({ application: { uid: hex('04FFFFFFFFFFFF'), process: (one) => application.process(one), reset: () => application.reset() } });
    field.put(other);
    expect(await ask(host, channel, GET_UID)).toBe('02');
    field.lift(other);
    expect(await ask(host, channel, GET_UID)).toBe('041122334455669000');
    field.inject({ kind: 'drop-answer', times: 10, matches: ({ bytes }) => bytes[0] !== 0x26 });
    expect(await ask(host, channel, '9060000000')).toBe('01');
    field.clearFaults();
    field.lift();
    expect(await ask(host, channel, GET_UID)).toBe('');
    host.device.misbehave.isTaken = true;
    expect(await ask(host, channel, GET_UID)).toBe('04');
  });

  it.each(['FFCA0100', 'FFCA010000', 'FF00000000', 'FFCA0000'])('refuse %s, which no card hears', async (command) => {
    const { host, application, channel } = await opened();
    await ask(host, channel, GET_UID);
    expect(await ask(host, channel, command)).toBe('6E00');
    expect(application.heard).toEqual([]);
  });

  it('answer ping while a card is at work', async () => {
    const { host, card, channel } = await opened();
    await ask(host, channel, GET_UID);
    card.workMs = 40;
    await send(host, channel, '9060000000');
    await host.send(`0101 02 ${TOKEN}`);
    expect(trimmed(await host.next())).toBe(`010102${TOKEN}`);
    expect(await receive(host, channel)).toBe('90600000009000');
  });

  it('go wrong on command', async () => {
    const { host, channel } = await opened();
    const { misbehave } = host.device;
    misbehave.wrongNumbers = 1;
    await send(host, channel, GET_UID);
    expect(encodeHex(await host.next()).slice(4, 14)).toBe('0500070009');
    misbehave.brokenAnswers = 1;
    await send(host, channel, GET_UID);
    expect(encodeHex(await host.next()).slice(4, 14)).toBe('050000FFFF');
    misbehave.staleAnswers = 1;
    await send(host, channel, '90600000' + '00');
    expect(encodeHex(await host.next()).slice(4, 14)).toBe('050000FFFF');
    expect(await receive(host, channel)).toBe('90600000009000');
  });
});

describe('messages', () => {
  it('come back as they were cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: MAX_MESSAGE_BYTES }), (data) => {
        const messages = new MessageAssembler();
        expect(splitIntoPackets(0x1234, data).map((packet) => messages.push(packet)).filter((one) => one !== undefined)).toEqual([data]);
      }),
    );
  });

  it('out of order, too long or interrupted are forgotten, and the next is taken', async () => {
    const { host, channel } = await opened();
    const long = splitIntoPackets(channel, new Uint8Array(200).fill(0x90));
    for (const bad of [[long[1]!], [long[0]!, long[2]!, long[3]!], [long[0]!, long[1]!, long[1]!, long[2]!, long[3]!]]) for (const packet of bad) await host.send(packet);
    const tooLong = long[0]!.slice();
    tooLong.set([0x01, 0x06], 5);
    await host.send(tooLong);
    await host.send(long[0]!);
    await host.send(`0101 02 ${TOKEN}`);
    for (const packet of long.slice(1)) await host.send(packet);
    expect(trimmed(await host.next())).toBe(`010102${TOKEN}`);
    expect(await host.rest()).toEqual([]);
    expect(await ask(host, channel, GET_UID)).toBe('041122334455669000');
  });
});
