/** The MagTek terminal from its own side: the vendor's frames byte for byte, sessions, and what goes wrong. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { encodeMessage, encodeTlv, MAX_MESSAGE_BYTES, PacketAssembler, parseMessage, parseTlvs, splitIntoReports } from './magtek-message.ts';
import { ContactlessField } from '../field.ts';
import { fieldWithCard, hex, TestingHidHost, trimmed } from './testing-hid-host.ts';
import { MagtekDevice } from './magtek-device.ts';
import { Picc } from '../picc.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { MagtekOptions } from './magtek-device.ts';

const START_NFC = 'AA00 81040103 1001 84 14 1001 820100 A309 810100 820100 830103 84020203'.replaceAll(' ', '');
const GET_VERSION = 'AA00810401131102840F1102810590600000008201008301';
const CANCEL = 'AA008104011310088402' + '1008';

async function sendMessage(host: TestingHidHost, message: string): Promise<void> {
  for (const report of splitIntoReports(hex(message))) await host.send(report);
}

/** The next message, hex. */
async function receiveMessage(host: TestingHidHost): Promise<string> {
  const packets = new PacketAssembler();
  for (;;) {
    const message = packets.push(await host.next());
    if (message !== undefined) return encodeHex(message);
  }
}

/** A transaction with a card found. */
async function begun(options?: Partial<MagtekOptions>) {
  const { field, application, card } = fieldWithCard();
  const host = new TestingHidHost(new MagtekDevice({ field, ...options }));
  await sendMessage(host, START_NFC);
  expect(await receiveMessage(host)).toBe('AA0081048203100182' + '0401000000');
  expect(await receiveMessage(host)).toBe('AA008104830001018204' + '20010404');
  expect(await receiveMessage(host)).toBe('AA008104830001018204' + '20080402' + '8410' + '0101' + '840C' + 'FC0A' + 'DF7A07' + '04112233445566');
  return { host, field, application, card };
}

afterEach(() => vi.useRealTimers());

describe('the device', () => {
  it('is 0801:2020 with the report descriptor of one 64-byte report each way, a product and a serial number', () => {
    const { descriptors } = new MagtekDevice({ field: new ContactlessField() });
    expect(encodeHex(descriptors.device)).toBe('120100020000004001082020000101020301');
    expect(encodeHex(descriptors.configuration)).toBe('09022900010100803209040000020300000009211101000122' + '1B00' + '07058103400001' + '07050103400001');
    expect(encodeHex(descriptors.hidReport!)).toBe('0600FF0901A101150026FF007508954009208102954009219102C0');
    expect(descriptors.strings).toEqual(['MagTek', 'DynaFlex', 'B51A5C1']);
  });

  it("answers the vendor's GET_VERSION example byte for byte, in single reports", async () => {
    const { host, application } = await begun();
    application.answer = () => parseHex('0408013000130591AF');
    await host.send(`0019${GET_VERSION}00`);
    expect(trimmed(await host.next())).toBe('0024' + 'AA0081048213110282040100000084141102810291AF820CFC0ADF7A0704080130001305');
    expect(application.heard).toEqual(['9060000000']);
  });

  it.each([['container', '8202FC00'], ['item', '8205FC03DF7A00'], ['nothing', '']] as const)('sends an answer without data with the %s that it is told to', async (withoutData, expected) => {
    const { host, application } = await begun({ withoutData });
    application.answer = () => parseHex('9100');
    await sendMessage(host, `${GET_VERSION}00`);
    expect(await receiveMessage(host)).toBe(`AA0081048213110282040100000084${(6 + expected.length / 2).toString(16).padStart(2, '0').toUpperCase()}110281029100${expected}`);
  });

  it('carries commands and answers over several reports', async () => {
    const { host, application } = await begun();
    const command = concatBytes(hex('90DF0000FF'), new Uint8Array(255).fill(0x5a), hex('00'));
    application.answer = () => concatBytes(new Uint8Array(255).fill(0xa5), hex('9100'));
    const payload = concatBytes(hex('1102'), encodeTlv(0x81, command), hex('820100830100'));
    await sendMessage(host, encodeHex(encodeMessage({ type: 1, reference: 0x27, command: 0x1102, payload })));
    const answer = parseMessage(hex(await receiveMessage(host)));
    expect(answer).toMatchObject({ type: 0x82, reference: 0x27, command: 0x1102 });
    expect(parseTlvs(answer!.payload!.slice(2))?.map(({ tag, value }) => [tag, value.length])).toEqual([[0x81, 2], [0x82, 4 + 4 + 255]]);
    expect(application.heard).toEqual([encodeHex(command)]);
  });

  it("starts by the vendor's own frame, with payment data that it has no use for", async () => {
    const { field } = fieldWithCard();
    const host = new TestingHidHost(new MagtekDevice({ field }));
    await sendMessage(host, 'AA00810401031001843D1001820178A3098101008201008301038402020386279C01009F02060000000001009F03060000000000005F2A0208405F3601029F150200009F530100');
    expect(await receiveMessage(host)).toBe('AA0081048203100182' + '0401000000');
    expect(await receiveMessage(host)).toBe('AA008104830001018204' + '20010404');
  });

  it('ends the session after the last command, which is told by FF', async () => {
    const { host, field } = await begun();
    await sendMessage(host, `${GET_VERSION}FF`);
    await receiveMessage(host);
    expect(await receiveMessage(host)).toBe('AA00810483000105820420040000');
    expect(field.isOn).toBe(false);
    await sendMessage(host, `${GET_VERSION}00`);
    expect(await receiveMessage(host)).toBe('AA0081048213110282' + '0480020304');
  });

  it('cancels, and says so', async () => {
    const { host, field } = await begun();
    await sendMessage(host, CANCEL);
    expect(await receiveMessage(host)).toBe('AA0081048213100882' + '0400000000');
    expect(await receiveMessage(host)).toBe('AA00810483000105820400030100');
    expect(field.isOn).toBe(false);
    await sendMessage(host, CANCEL);
    expect(await receiveMessage(host)).toBe('AA0081048213100882' + '0480020304');
  });
});

describe('cards that come and go', () => {
  it('waits for a card, tells of two, and takes the one that stays', async () => {
    const { card, application } = fieldWithCard();
    const field = new ContactlessField();
    const host = new TestingHidHost(new MagtekDevice({ field }));
    await sendMessage(host, START_NFC);
    await receiveMessage(host);
    expect(await host.rest()).toEqual([]);
    await sendMessage(host, `${GET_VERSION}00`);
    expect(await receiveMessage(host)).toBe('AA0081048213110282' + '0480020312');
    field.put(new Picc({ application: { uid: hex('04FFFFFFFFFFFF'), process: (command) => application.process(command), reset: () => application.reset() } }));
    field.put(card);
    expect(await receiveMessage(host)).toBe('AA008104830001018204' + '20010500');
    field.lift(field.cards[0]);
    expect(await receiveMessage(host)).toBe('AA008104830001018204' + '20010404');
  });

  it('tells at once that the card was lifted, in the middle of a command by 6400 first', async () => {
    const { host, field, application } = await begun();
    field.lift();
    expect(await receiveMessage(host)).toBe('AA008104830001018204' + '20010300');
    expect(await receiveMessage(host)).toBe('AA008104830001058204' + '20050000');
    const other = await begun();
    other.field.inject({ kind: 'lift-after' });
    await sendMessage(other.host, `${GET_VERSION}00`);
    expect(await receiveMessage(other.host)).toBe('AA008104821311028204010000008406' + '1102' + '81026400');
    expect(await receiveMessage(other.host)).toBe('AA008104830001018204' + '20010300');
    expect(await receiveMessage(other.host)).toBe('AA008104830001058204' + '20050000');
    expect(application.heard).toEqual([]);
    expect(await other.host.rest()).toEqual([]);
  });

  it('gives a person the time of the transaction, and a card 30 seconds for each next command', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const waiting = new TestingHidHost(new MagtekDevice({ field: new ContactlessField() }));
    await sendMessage(waiting, START_NFC.replace('820100', '82010A'));
    await receiveMessage(waiting);
    vi.advanceTimersByTime(9_999);
    expect(await waiting.rest()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(await receiveMessage(waiting)).toBe('AA008104830001058204' + '00010000');
    const { host, field } = await begun();
    for (let command = 0; command < 3; command++) {
      vi.advanceTimersByTime(29_999);
      await sendMessage(host, `${GET_VERSION}00`);
      expect(await receiveMessage(host)).toContain('81029000');
    }
    vi.advanceTimersByTime(30_000);
    expect(await receiveMessage(host)).toBe('AA008104830001058204' + '00010000');
    expect(field.isOn).toBe(false);
  });
});

describe('refusals', () => {
  it.each([
    ['a start while a transaction is under way', START_NFC, '80020308'],
    ['an unknown command', 'AA00810401075555' + '8402' + '5555', '80010113'],
    ['a payload of another command', 'AA008104010711028402' + '5555', '80010102'],
    ['fields that do not fit', 'AA00810401071102840F1102', '80010102'],
    ['no payload', 'AA00810401071102', '80010102'],
    ['a pass-through without command', 'AA00810401071102' + '8408' + '1102' + '820100' + '830100', '80010102'],
    ['an unknown flow', 'AA00810401071102' + '840F' + '1102' + '8105' + '9060000000' + '820100' + '830107', '80010102'],
    ['encryption, for which no key is loaded', 'AA00810401071102' + '840F' + '1102' + '8105' + '9060000000' + '820101' + '830100', '80010113'],
  ])('%s', async (_, message, status) => {
    const { host, application } = await begun();
    await sendMessage(host, message);
    expect((await receiveMessage(host)).slice(16)).toBe(`8204${status}`);
    expect(application.heard).toEqual([]);
  });

  it('is another program’s while that has a transaction under way', async () => {
    const { field } = fieldWithCard();
    const device = new MagtekDevice({ field });
    device.misbehave.isTaken = true;
    const host = new TestingHidHost(device);
    await sendMessage(host, START_NFC);
    expect(await receiveMessage(host)).toBe('AA0081048203100182' + '0480020308');
    expect(await host.rest()).toEqual([]);
  });

  it('reports a card to a transaction for payment cards only as not accepted', async () => {
    const { field } = fieldWithCard();
    const host = new TestingHidHost(new MagtekDevice({ field }));
    await sendMessage(host, START_NFC.replace('830103', '830101'));
    await receiveMessage(host);
    expect(await receiveMessage(host)).toBe('AA008104830001018204' + '20010400');
    expect(await receiveMessage(host)).toBe('AA008104830001058204' + '20020900');
  });
});

describe('misbehaviour', () => {
  it('answers with a wrong reference, a broken message, an old one, or not at all, once each', async () => {
    const { host } = await begun();
    const { misbehave } = host.device;
    const ask = async (): Promise<string> => {
      await sendMessage(host, `${GET_VERSION}00`);
      return receiveMessage(host);
    };
    const right = await ask();
    misbehave.wrongNumbers = 1;
    expect((await ask()).slice(0, 16)).toBe('AA00810482461102');
    misbehave.brokenAnswers = 1;
    expect((await ask()).slice(0, 2)).toBe('00');
    expect(await ask()).toBe(right);
    misbehave.staleAnswers = 1;
    expect(await ask()).toBe(right);
    expect(await host.rest()).toHaveLength(1);
    misbehave.answersToLose = 1;
    await sendMessage(host, `${GET_VERSION}00`);
    expect(await host.rest()).toEqual([]);
    misbehave.answerDelayMs = 60;
    const startedAt = performance.now();
    expect(await ask()).toBe(right);
    expect(performance.now() - startedAt).toBeGreaterThan(55);
  });
});

describe('packets', () => {
  it('are as the vendor cuts them: a middle one only while more than 62 bytes remain', () => {
    const headers = (length: number): string[] => splitIntoReports(new Uint8Array(length).fill(0xbb)).map((report) => encodeHex(report).replace(/BB.*/, ''));
    expect(headers(62)).toEqual(['003E']);
    expect(headers(63)).toEqual(['010000003F', '0304']);
    expect(headers(121)).toEqual(['0100000079', '033E']);
    expect(headers(122)).toEqual(['010000007A', '020001', '0302']);
    expect(splitIntoReports(new Uint8Array(300)).every(({ length }) => length === 64)).toBe(true);
  });

  it('come back as the message that was cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), (message) => {
        const packets = new PacketAssembler();
        const whole = splitIntoReports(message).map((report) => packets.push(report)).filter((result) => result !== undefined);
        expect(whole).toEqual([message]);
      }),
    );
  });

  it('out of order, doubled, cancelled or too long make no message', () => {
    const reports = splitIntoReports(new Uint8Array(300).fill(1));
    const pushAll = (list: readonly Bytes[]) => {
      const packets = new PacketAssembler();
      return list.map((report) => packets.push(report)).filter((result) => result !== undefined);
    };
    const [head, first, second, third, tail] = reports as [Bytes, Bytes, Bytes, Bytes, Bytes];
    expect(pushAll([head, first, second, third, tail])).toHaveLength(1);
    expect(pushAll([head, second, first, third, tail])).toEqual([]);
    expect(pushAll([head, first, first, second, third, tail])).toEqual([]);
    expect(pushAll([head, first, second, tail])).toEqual([]);
    expect(pushAll([first, second, third, tail])).toEqual([]);
    expect(pushAll([head, first, second, third, hex('04'), tail])).toEqual([]);
    expect(pushAll(splitIntoReports(new Uint8Array(MAX_MESSAGE_BYTES)))).toHaveLength(1);
    expect(pushAll(splitIntoReports(new Uint8Array(MAX_MESSAGE_BYTES + 1)))).toEqual([]);
  });
});
