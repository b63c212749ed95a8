/** The chip through its one door: framing, selection, authentication, and what an error costs. */
import { beforeEach, describe, expect, it } from 'vitest';
import { CardUnderTest, changeFile, changeWallet, NONE, usableCard, ZERO_KEY } from './testing/card.ts';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import { aesCbc, DF_NAME_SELECT } from './testing/host.ts';
import { withKey } from './card-image.ts';

let card: CardUnderTest;

beforeEach(() => {
  card = new CardUnderTest();
});

describe('malformed APDUs', () => {
  it.each([
    ['', '6700'],
    ['00', '6700'],
    ['00A404', '6700'],
    ['00A4040C02D276', '6A82'],
    ['00A4040C03D276', '6700'],
    ['00A4040C02D2760000', '6700'],
    ['00A4040C0000', '6700'],
    ['00A4040C000002D276', '6700'],
    ['00A4050C023F00', '6A86'],
    ['00A4000102DF01', '6A86'],
    ['00A4000C013F', '6A87'],
    ['00A4020C013F', '6A87'],
    ['00A4040C', '6A87'],
    ['00B0000000', '6D00'],
    ['80CA000000', '6E00'],
    ['90', '917E'],
    ['906000', '917E'],
    ['90600000', '917E'],
    ['9060000001', '917E'],
    ['9060010000', '917E'],
    ['9060000100', '917E'],
    ['906000000100', '917E'],
    ['90600000010000', '917E'],
    ['906000000200', '917E'],
    ['90600000000000', '917E'],
    ['9064000001', '917E'],
    ['90AF000000', '911C'],
    ['90FE000000', '911C'],
    ['90BD00000703000000000000', '917E'],
    ['90BD0000070300000000000000', '911C'],
  ])('%s is answered %s', async (command, answer) => {
    expect(encodeHex(await card.chip.process(parseHex(command)))).toBe(answer);
  });

  it('the longest frames are answered too', async () => {
    for (const length of [255, 260, 261, 262, 65_535]) {
      expect(await card.chip.process(new Uint8Array(length))).toHaveLength(2);
      expect(await card.chip.process(new Uint8Array(length).fill(0x90))).toHaveLength(2);
    }
  });
});

describe('selection', () => {
  it('the card level has no files and no AES keys', async () => {
    expect((await card.host.native(0x6c, new Uint8Array([3]))).status).toBe(0x919d);
    expect((await card.host.native(0x71, new Uint8Array([0, 0]))).status).toBe(0x9140);
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
    expect((await card.host.native(0x60)).status).toBe(0x91af);
  });

  it.each([
    ['00A4040C07D2760000850100', '9000'],
    ['00A4000C023F00', '9000'],
    ['00A4000C', '9000'],
    ['00A4000C02DF01', '9000'],
    [DF_NAME_SELECT, '9000'],
    ['00A4000C02EF01', '6A82'],
    ['00A4040C10A00000039656434103F015400000000C00', '6A82'],
  ])('%s is answered %s', async (command, answer) => {
    expect(encodeHex(await card.chip.process(parseHex(command)))).toBe(answer);
  });

  it('by name with P2 00 the application shows its file control information', async () => {
    const answer = await card.chip.process(parseHex('00A4040010A00000039656434103F015400000000B00'));
    expect(encodeHex(answer)).toBe(`${'00'.repeat(32)}9000`);
  });

  it('a file below the application is selected without losing the session; the application itself not', async () => {
    await card.host.select();
    await card.host.authenticate(0, ZERO_KEY);
    expect((await card.host.raw(parseHex('00A4020C02EF01'))).status).toBe(0x9000);
    expect((await card.host.send(0x64, [0], NONE, 'mac', 'mac')).status).toBe(0x9100);
    await card.host.raw(parseHex('00A4000C02DF01'));
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
  });

  it('says with 6283 that the transaction counter is used up, and then refuses everything but reading it', async () => {
    card = new CardUnderTest((image) => changeFile(usableCard(image), 'transaction-mac', { counter: 7, counterLimit: 7 }));
    expect((await card.host.raw(parseHex(DF_NAME_SELECT))).status).toBe(0x6283);
    await card.host.authenticate(1, ZERO_KEY);
    const read = await card.host.send(0xad, [15, 0, 0, 0, 0, 0, 0], NONE, 'mac', 'full');
    expect(encodeHex(read.data)).toBe('070000000000000000000000');
    expect((await card.debit(1)).status).toBe(0x919d);
  });
});

describe('authentication', () => {
  beforeEach(() => card.host.select());

  it.each([
    ['no data', '', '917E'],
    ['no capability length', '00', '917E'],
    ['capability length beyond the data', '000200', '917E'],
    ['seven capability bytes', '000700000000000000', '917E'],
    ['trailing byte', '000000', '917E'],
    ['no such key', '0500', '9140'],
  ])('part 1 with %s', async (_, payload, answer) => {
    expect((await card.host.native(0x71, parseHex(payload))).status).toBe(Number(`0x${answer}`));
  });

  it('echoes the reader capabilities, filled with zeros', async () => {
    // The second pass ends with them, under the key: TI, RndA', PDcap2, PCDcap2.
    const first = await card.host.native(0x71, parseHex('0003010203'));
    const rndB = aesCbc(ZERO_KEY, ZERO_KEY, first.data, 'decrypt');
    const proof = concatBytes(new Uint8Array(16), rndB.subarray(1), rndB.subarray(0, 1));
    const second = await card.host.native(0xaf, aesCbc(ZERO_KEY, ZERO_KEY, proof));
    expect(encodeHex(aesCbc(ZERO_KEY, ZERO_KEY, second.data, 'decrypt').slice(-12))).toBe('000000000000010203000000');
  });

  it('who asks for LRP is answered with AES, and may take it', async () => {
    const first = await card.host.native(0x71, parseHex('000102'));
    expect(first).toMatchObject({ status: 0x91af });
    expect(first.data).toHaveLength(16);
    expect((await card.host.prove(ZERO_KEY, first.data, 0x71)).status).toBe(0x9100);
  });

  it('a wrong proof is AE, and leaves no session', async () => {
    await card.host.authenticate(0, ZERO_KEY);
    expect(await card.host.authenticate(0, parseHex('FF'.repeat(16)))).toBe(0x91ae);
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
  });

  it('another command in the middle is CA, and the half-done authentication is gone', async () => {
    await card.host.native(0x71, new Uint8Array([0, 0]));
    expect((await card.host.native(0x60)).status).toBe(0x91ca);
    expect((await card.host.native(0xaf, new Uint8Array(32))).status).toBe(0x911c);
  });

  it.each([0, 31, 33])('part 2 of %i bytes is 7E', async (length) => {
    await card.host.native(0x71, new Uint8Array([0, 0]));
    expect((await card.host.native(0xaf, new Uint8Array(length))).status).toBe(0x917e);
  });

  it('selection in the middle is carried out', async () => {
    await card.host.native(0x71, new Uint8Array([0, 0]));
    await card.host.select();
    expect(await card.host.authenticate(0, ZERO_KEY)).toBe(0x9100);
  });

  it('NonFirst needs a session, and keeps its identifier, counter and open transaction', async () => {
    card = new CardUnderTest(usableCard);
    await card.host.select();
    expect(await card.host.authenticate(3, ZERO_KEY, 0x77)).toBe(0x919d);
    await card.host.authenticate(1, ZERO_KEY);
    await card.debit(100);
    expect(await card.host.authenticate(3, ZERO_KEY, 0x77)).toBe(0x9100);
    await card.credit(30);
    expect((await card.commit()).status).toBe(0x9100);
    expect(card.fileOf('value').value).toBe(4930);
  });

  it('First ends an open transaction', async () => {
    card = new CardUnderTest(usableCard);
    await card.begin(1);
    await card.debit(100);
    await card.host.authenticate(1, ZERO_KEY);
    expect((await card.commit()).status).toBe(0x910c);
    expect(card.fileOf('value').value).toBe(5000);
  });

  it('failures are counted, successes pay some back, and the limit locks the key until it is changed', async () => {
    card = new CardUnderTest((image) => changeWallet(image, (wallet) => withKey(wallet, 2, { value: ZERO_KEY, version: 0, failures: 999, failuresInARow: 1 })));
    await card.host.select();
    expect(await card.host.authenticate(2, parseHex('FF'.repeat(16)))).toBe(0x91ae);
    expect(await card.host.authenticate(2, ZERO_KEY)).toBe(0x919d);
    await card.host.authenticate(0, ZERO_KEY);
    const sameKey = concatBytes(ZERO_KEY, new Uint8Array([0]), parseHex('5BEE1213'));
    expect((await card.host.send(0xc4, [2], sameKey, 'full', 'mac')).status).toBe(0x911e);
    expect(card.wallet.keys[2]!.failures).toBe(1000);
    card = new CardUnderTest((image) => changeWallet(image, (wallet) => withKey(wallet, 2, { value: ZERO_KEY, version: 0, failures: 25, failuresInARow: 25 })));
    await card.host.select();
    expect(await card.host.authenticate(2, ZERO_KEY)).toBe(0x9100);
    expect(card.wallet.keys[2]).toMatchObject({ failures: 15, failuresInARow: 0 });
  });
});

describe('an error in a session', () => {
  beforeEach(async () => {
    card = new CardUnderTest(usableCard);
    await card.begin(1);
  });

  const errors: [string, () => Promise<{ status: number }>, number][] = [
    ['a command without its MAC', () => card.host.native(0x6c, new Uint8Array([3])), 0x917e],
    ['a bare GetCardUID', () => card.host.native(0x51), 0x917e],
    ['a wrong MAC', () => card.host.native(0x6c, new Uint8Array([3, 1, 2, 3, 4, 5, 6, 7, 8])), 0x911e],
    ['a byte too many', () => card.host.native(0x6c, new Uint8Array(10).fill(3)), 0x917e],
    ['a ciphertext of no whole blocks', () => card.host.native(0xdc, new Uint8Array(18).fill(3)), 0x917e],
    ['an unknown file', () => card.host.send(0x6c, [9], NONE, 'mac', 'full'), 0x91f0],
    ['an unknown command', () => card.host.send(0xfe, [], NONE, 'mac', 'mac'), 0x911c],
    ['an unknown key', () => card.host.send(0x64, [5], NONE, 'mac', 'mac'), 0x9140],
    ['a value too low', () => card.debit(5001), 0x91be],
    ['a negative amount', () => card.debit(-1), 0x919e],
    ["another key's right", () => card.credit(1), 0x91ae],
    ["nobody's right", () => card.host.send(0x8d, [0, 0, 0, 0, 1, 0, 0], new Uint8Array([1]), 'full', 'mac'), 0x91ae],
    ['a record command on a value file', () => card.host.send(0xab, [3, 0, 0, 0, 0, 0, 0], NONE, 'mac', 'full'), 0x919d],
    ['a commit option of 2', () => card.host.send(0xc7, [], new Uint8Array([2]), 'mac', 'mac'), 0x919e],
    ['ISO bytes that are no command', () => card.host.raw(new Uint8Array([0])), 0x6700],
  ];

  it.each(errors)('%s ends session and transaction, and nothing but the status comes back', async (_, act, status) => {
    await card.writeRecord(parseHex('AA'.repeat(16)));
    await card.debit(100);
    const answer = await act();
    expect(answer).toEqual({ status, data: NONE });
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
    await card.host.authenticate(1, ZERO_KEY);
    expect((await card.commit()).status).toBe(0x910c);
    expect(card.fileOf('value').value).toBe(5000);
    expect(card.fileOf('transaction-mac').counter).toBe(0);
  });

  it('a command sent twice has a stale counter', async () => {
    const payload = card.host.protect(0x6c, new Uint8Array([3]), NONE, 'mac');
    expect((await card.host.native(0x6c, payload)).status).toBe(0x9100);
    expect((await card.host.native(0x6c, payload)).status).toBe(0x911e);
  });

  it('wrong padding under a right MAC is an integrity error', async () => {
    // Full mode with a whole number of blocks, authenticated but never padded.
    const sent = card.host.protect(0xdc, new Uint8Array([3]), parseHex('00'.repeat(16)), 'mac');
    expect((await card.host.native(0xdc, sent)).status).toBe(0x911e);
  });

  it('after the session is lost, protected commands are too long', async () => {
    const payload = card.host.protect(0x6c, new Uint8Array([3]), NONE, 'mac');
    await card.chip.reset();
    await card.host.raw(parseHex(DF_NAME_SELECT));
    expect((await card.host.native(0x6c, payload)).status).toBe(0x917e);
  });
});

describe('ISO commands that read or write files', () => {
  const commands = ['00B0000000', '00D600000101', '00B2010000', '00E200000101'];

  it.each(commands)('%s: refused with 6985 while there is a transaction MAC, and the session is gone', async (apdu) => {
    await card.begin(0);
    expect((await card.host.raw(parseHex(apdu))).status).toBe(0x6985);
    expect((await card.host.native(0x51)).status).toBe(0x91ae);
  });

  it.each(commands)('%s: unknown at card level, and without a transaction MAC', async (apdu) => {
    expect((await card.host.raw(parseHex(apdu))).status).toBe(0x6d00);
    await card.begin(0);
    expect((await card.host.send(0xdf, [15], NONE, 'mac', 'mac')).status).toBe(0x9100);
    expect((await card.host.raw(parseHex(apdu))).status).toBe(0x6d00);
  });
});

it.each([1, 2])('GetVersion is asked on with nothing: data with additional frame %i are refused', async (frame) => {
  await card.host.native(0x60);
  for (let i = 1; i < frame; i++) expect((await card.host.native(0xaf)).status).toBe(0x91af);
  expect(await card.host.native(0xaf, new Uint8Array(1))).toEqual({ status: 0x917e, data: NONE });
});

it('GetVersion in a session: one count, and one MAC over all 28 bytes at the end of the third frame', async () => {
  await card.begin(0);
  const first = await card.host.native(0x60, card.host.protect(0x60, NONE, NONE, 'mac'));
  const second = await card.host.native(0xaf);
  const third = await card.host.native(0xaf);
  expect([first.data.length, second.data.length, third.data.length]).toEqual([7, 7, 22]);
  card.host.session!.counter++;
  expect(card.host.opened(0, concatBytes(first.data, second.data, third.data), 'mac')).toHaveLength(28);
  expect((await card.host.send(0x64, [0], NONE, 'mac', 'mac')).status).toBe(0x9100);
});
