import { describe, expect, test } from 'vitest';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { asFailure } from '#protocol/failure.ts';
import { createReader, messageOf, SESSION_END, SESSION_START, RF_OFF, RF_ON, LAYER_3, LAYER_4, GET_UID, GET_ATS, REQA, DONE, MISSED, NO_ACCESS, DAMAGED } from './rc-s300.fixture.ts';
import type { Reaction } from './usb-device.fixture.ts';

const GET_VERSION = parseHex('9060000000');

const cut = (bytes: Bytes, at: number) => [bytes.slice(0, at), bytes.slice(at)];

async function opened() {
  const reader = createReader();
  await reader.driver.open();
  reader.requests.length = 0;
  return reader;
}

async function withCard() {
  const reader = await opened();
  const card = await reader.driver.findCard();
  if (!card) throw new Error('no card');
  reader.requests.length = 0;
  return { ...reader, found: card };
}

const codeOf = (work: Promise<unknown>) => work.then(() => 'done', (thrown: unknown) => asFailure(thrown).code);

describe('open', () => {
  test('ends what was, starts a session, field off; numbers from 1', async () => {
    const { driver, requests, device, clock } = createReader();
    expect(driver.readerName).toBe('SONY RC-S300/S (FeliCa Port/PaSoRi 4.0)');
    await driver.open();
    expect(requests).toEqual([SESSION_END, SESSION_START, RF_OFF]);
    expect(device.sent[0]).toBe('6B080000000001000000FF50000002820000');
    expect(device.calls).toContain('claimInterface 1');
    expect(clock.nowMs).toBe(50);
  });

  test('what an earlier user left unread is no answer of ours', async () => {
    const { driver, device } = createReader();
    for (const hex of ['C0030090009000', '83070000000009020000C0030090009000']) device.bring(parseHex(hex));
    await driver.open();
    expect(device.violations).toEqual([]);
  });

  test('a session that another program has', async () => {
    const { driver, paper, device } = createReader();
    paper.instead.set(SESSION_START, [NO_ACCESS]);
    expect(await codeOf(driver.open())).toBe('reader/in-use');
    expect(device.opened).toBe(false);
    paper.instead.clear();
    await driver.open();
    expect(device.opened).toBe(true);
  });

  test('a reader that answers nothing', async () => {
    const { driver, paper, clock, device } = createReader();
    paper.react.set('', () => []);
    expect(await codeOf(driver.open())).toBe('reader/failed');
    expect(clock.nowMs).toBeLessThan(2500);
    expect(device.opened).toBe(false);
    expect(device.violations).toEqual([]);
  });

  test('an interface that another program has, a device that is not ours to open', async () => {
    const { driver, device } = createReader();
    device.refuse.claimInterface = 'NetworkError';
    expect(await codeOf(driver.open())).toBe('reader/in-use');
    device.refuse.open = 'SecurityError';
    expect(await codeOf(driver.open())).toBe('reader/permission');
  });
});

describe('finding a card', () => {
  test('none: one exchange a look, once the field is on', async () => {
    const { driver, paper, requests } = await opened();
    paper.uid = undefined;
    expect(await driver.findCard()).toBeUndefined();
    expect(await driver.findCard()).toBeUndefined();
    expect(requests).toEqual([RF_ON, LAYER_3, LAYER_3]);
  });

  test('one, activated by the reader, of seven bytes; and no other answers', async () => {
    const { driver, requests, clock } = await opened();
    const before = clock.nowMs;
    const card = await driver.findCard();
    expect(card?.uid).toEqual(parseHex('04112233445566'));
    expect(requests).toEqual([RF_ON, LAYER_3, GET_UID, LAYER_4, GET_ATS, REQA]);
    expect(clock.nowMs - before).toBeLessThan(50);
  });

  test('where the reader tells the historical bytes alone, we send RATS; and at once the next time', async () => {
    const { driver, paper, requests } = await opened();
    paper.instead.set(GET_ATS, ['809000']);
    const rats = 'FF500001000011900200105F46043075000095820002E080000000';
    const card = await driver.findCard();
    expect(requests).toEqual([RF_ON, LAYER_3, GET_UID, LAYER_4, GET_ATS, RF_OFF, RF_ON, LAYER_3, GET_UID, rats, REQA]);
    await card?.release();
    requests.length = 0;
    await driver.findCard();
    expect(requests).toEqual([RF_ON, LAYER_3, GET_UID, rats, REQA]);
  });

  test('one that takes no commands, and one that went away in the middle', async () => {
    const { driver, paper } = await opened();
    paper.instead.set(LAYER_4, [MISSED]).set('FF500001000011900200105F460430750000', [MISSED]);
    expect(await codeOf(driver.findCard())).toBe('card/unsupported');
    paper.instead.set(LAYER_3, [DONE, MISSED]);
    expect(await driver.findCard()).toBeUndefined();
  });

  test.each([
    ['the reader says so', LAYER_3, 'C003026401960202009000'],
    ['another answers while one is chosen', REQA, 'C00300900092010096020000970204039000'],
    ['two others do', REQA, 'C00300900092010096020200970204039000'],
  ])('several cards: %s', async (_how, request, reply) => {
    const { driver, paper, requests } = await opened();
    paper.instead.set(request, [reply]);
    expect(await codeOf(driver.findCard())).toBe('card/several');
    paper.instead.clear();
    requests.length = 0;
    expect(await driver.findCard()).toBeDefined();
  });

  test('another program takes the reader', async () => {
    const { driver, paper } = await opened();
    paper.instead.set(LAYER_3, [NO_ACCESS]);
    expect(await codeOf(driver.findCard())).toBe('reader/in-use');
  });
});

describe('a command', () => {
  test('goes in one block of one exchange; framing is set back once after the short frame', async () => {
    const { found, requests } = await withCard();
    expect(encodeHex(await found.transceive(GET_VERSION, 1000))).toBe('90600000009100');
    await found.transceive(GET_VERSION, 1000);
    expect(requests).toEqual([
      'FF500001000018900200109101005F4604393C010095820006029060000000000000',
      'FF500001000015900200105F4604393C010095820006039060000000000000',
    ]);
  });

  test('long ones both ways are chained', async () => {
    const { found, card } = await withCard();
    const command = new Uint8Array(200).fill(7);
    expect((await found.transceive(command, 1000)).length).toBe(202);
    expect(card.commands).toEqual([encodeHex(command)]);
    expect(card.violations).toEqual([]);
  });

  test.each<[string, (reply: () => Bytes, sequence: number) => readonly Reaction[]]>([
    ['an answer to an earlier message before its own', (reply, sequence) => [messageOf(sequence - 1, DONE), reply()]],
    ['more time, twice', (reply, sequence) => [messageOf(sequence, '', '82'), messageOf(sequence, '', '82'), reply()]],
    ['header and body apart', (reply) => cut(reply(), 10)],
    ['a header in pieces', (reply) => cut(reply(), 3)],
    ['empty packets', (reply) => [new Uint8Array(), reply()]],
    ['a stall, cleared', (reply) => ['stall', reply()]],
  ])('is answered through %s', async (_what, react) => {
    const { found, paper, device, card } = await withCard();
    paper.react.set('FF500001', react);
    expect(encodeHex(await found.transceive(GET_VERSION, 1000))).toBe('90600000009100');
    // One block: nothing had to be recovered.
    expect(card.blocks).toHaveLength(1);
    expect(device.violations).toEqual([]);
  });

  test('a busy slot has done nothing: asked again with a new number, and not without end', async () => {
    const { found, paper, card, device, clock } = await withCard();
    let busy = 3;
    paper.react.set('FF500001', (reply, sequence) => [busy-- > 0 ? messageOf(sequence, '', '42', 'E0') : reply()]);
    const before = clock.nowMs;
    expect(encodeHex(await found.transceive(GET_VERSION, 1000))).toBe('90600000009100');
    expect(clock.nowMs - before).toBe(150);
    expect(new Set(device.sent.slice(-4).map((hex) => hex.slice(12, 14))).size).toBe(4);
    expect(card.commands).toHaveLength(1);
    busy = 100;
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('reader/in-use');
    expect(card.commands).toHaveLength(1);
  });

  test.each([
    ['nonsense of the reader', '6A80'],
    ['an answer without its objects', 'C00300'],
  ])('%s', async (_what, reply) => {
    const { found, paper } = await withCard();
    paper.instead.set('FF500001', [reply]);
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('reader/failed');
  });

  test('a reader that asks for time for ever is given up within its time', async () => {
    const { found, paper, clock, device } = await withCard();
    paper.react.set('FF500001', (_reply, sequence) => {
      const again = (): void => void clock.after(400, () => {
        device.bring(messageOf(sequence, '', '82'));
        again();
      });
      again();
      return [];
    });
    const before = clock.nowMs;
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('reader/failed');
    expect(clock.nowMs - before).toBeLessThan(1700);
  });

  test('a damaged answer is asked for again; a lost one too', async () => {
    const { found, paper, card } = await withCard();
    const faults = [DAMAGED, MISSED];
    paper.react.set('FF500001', (reply, sequence) => {
      const [answer, fault] = [reply(), faults.shift()];
      return [fault === undefined ? answer : messageOf(sequence, fault)];
    });
    expect(encodeHex(await found.transceive(GET_VERSION, 1000))).toBe('90600000009100');
    expect(card.commands).toHaveLength(1);
  });

  test('the card is torn away', async () => {
    const { found, paper, driver } = await withCard();
    paper.uid = undefined;
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('card/removed');
    await found.release();
    expect(await driver.findCard()).toBeUndefined();
    paper.uid = '08112233';
    expect((await driver.findCard())?.uid).toEqual(parseHex('08112233'));
  });
});

describe('letting go', () => {
  test('presence, rest, field off', async () => {
    const { found, requests, card } = await withCard();
    expect(await found.isPresent()).toBe(true);
    await found.release();
    expect(card.isDeselected).toBe(true);
    expect(requests.at(-1)).toBe(RF_OFF);
  });

  test('close: field off, session ended, interface and device given back; twice is once', async () => {
    const { driver, requests, device } = await withCard();
    await Promise.all([driver.close(), driver.close()]);
    expect(requests).toEqual([RF_OFF, SESSION_END]);
    expect(device.calls.slice(-2)).toEqual(['releaseInterface 1', 'close']);
    expect(await codeOf(driver.findCard())).toBe('reader/failed');
  });

  test('close in the middle of a command ends it, and the late answer is not taken for ours', async () => {
    const { found, driver, paper, device, requests } = await withCard();
    let late: Bytes | undefined;
    paper.react.set('FF500001', (reply) => ((late = reply()), []));
    paper.react.set(RF_OFF, (reply) => (late ? [late, reply()] : [reply()]));
    const command = codeOf(found.transceive(GET_VERSION, 1000));
    await Promise.resolve();
    await driver.close();
    expect(await command).toBe('reader/failed');
    expect(requests.slice(-2)).toEqual([RF_OFF, SESSION_END]);
    expect(device.violations).toEqual([]);
    paper.react.clear();
    await driver.open();
    expect(await driver.findCard()).toBeDefined();
  });

  test('close while it is being opened', async () => {
    const { driver, device } = createReader();
    const opening = codeOf(driver.open());
    await driver.close();
    expect(await opening).toBe('reader/failed');
    expect(device.opened).toBe(false);
  });

  test('unplugged in the middle of a transfer', async () => {
    const { found, driver, paper, card } = await withCard();
    paper.react.set('FF500001', () => ['unplug']);
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('reader/failed');
    expect(await codeOf(found.transceive(GET_VERSION, 1000))).toBe('card/removed');
    await found.release();
    await driver.close();
    expect(await codeOf(driver.open())).toBe('reader/failed');
    expect(card.commands.length).toBeLessThanOrEqual(1);
  });

  test('an unplugged reader that was waited for', async () => {
    const { found, paper, device } = await withCard();
    paper.react.set('FF500001', () => []);
    const command = codeOf(found.transceive(GET_VERSION, 1000));
    await Promise.resolve();
    device.unplug();
    expect(await command).toBe('reader/failed');
  });
});
