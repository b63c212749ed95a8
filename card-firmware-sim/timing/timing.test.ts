/** The account of a payment's card-field time, over commands that a real chip answered. */
import { describe, expect, it } from 'vitest';
import { parseHex } from '#protocol/bytes.ts';
import { activationFieldTime, fieldTimesOf, FieldTimeMeter, sumOfFieldTimes, walletLink } from './timing.ts';
import { CardUnderTest, NONE, usableCard } from '../testing/card.ts';
import { TestingHost } from '../testing/host.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardExchange } from './chip.ts';

/** A payment's part at the card, recorded between a host and a chip. */
async function recordedPayment(): Promise<CardExchange[]> {
  const exchanges: CardExchange[] = [];
  const card = new CardUnderTest(usableCard);
  const host = new TestingHost({
    process: async (command: Uint8Array): Promise<Bytes> => {
      const answer = await card.chip.process(command);
      exchanges.push({ command, answer });
      return answer;
    },
  });
  await host.select();
  for (const instruction of [0x60, 0xaf, 0xaf]) await host.native(instruction);
  await host.authenticate(1, new Uint8Array(16));
  await host.send(0x6c, [3], NONE, 'mac', 'full');
  await host.send(0xab, [1, 0, 0, 0, 1, 0, 0], NONE, 'mac', 'full');
  await host.send(0xad, [15, 0, 0, 0, 12, 0, 0], NONE, 'mac', 'full');
  await host.send(0x8b, [1, 0, 0, 0, 16, 0, 0], new Uint8Array(16), 'full', 'mac');
  await host.send(0xdc, [3], parseHex('64000000'), 'full', 'mac');
  await host.send(0xc7, [], new Uint8Array([1]), 'mac', 'mac');
  await host.send(0x6c, [3], NONE, 'mac', 'full');
  return exchanges;
}

const exchange = (command: string, answer: string, pageWrites?: number): CardExchange => ({ command: parseHex(command), answer: parseHex(answer), pageWrites });

describe('the account of a payment', () => {
  it('names every command, counts its AES blocks by the rules of the messaging, and the pages of the commit', async () => {
    const times = fieldTimesOf(await recordedPayment(), walletLink(106));
    expect(times.map(({ command, aesBlocks, pageWrites }) => [command, aesBlocks, pageWrites])).toEqual([
      ['ISOSelectFile', 0, 0],
      ['GetVersion', 0, 0],
      ['GetVersion', 0, 0],
      ['GetVersion', 0, 0],
      // E(K, RndB)
      ['AuthenticateEV2First', 1, 0],
      // RndA and RndB' deciphered, the proof enciphered, subkeys of K, two session keys of two blocks, subkeys of SesAuthMACKey
      ['AuthenticateEV2First', 2 + 2 + 1 + 4 + 1, 0],
      // Each: MAC of the command, TMI, IV and enciphered data, MAC of the answer
      ['GetValue', 1 + 1 + 2 + 2, 0],
      ['ReadRecords', 1 + 2 + 3 + 3, 0],
      ['ReadData', 1 + 1 + 2 + 2, 0],
      ['WriteRecord', 3 + 3 + 2 + 1, 0],
      ['Debit', 2 + 2 + 1 + 1, 0],
      // MACs of command and answer, SesTMMACKey with its subkeys, subkeys of the TMV
      ['CommitTransaction', 1 + 2 + 3, 5],
      ['GetValue', 1 + 1 + 2 + 2, 0],
    ]);
  });

  it('its parts add up, and a higher rate shortens the air alone', async () => {
    const exchanges = await recordedPayment();
    const [slow, quick] = [106, 848].map((bitRate) => sumOfFieldTimes(fieldTimesOf(exchanges, walletLink(bitRate as 106 | 848)))) as [ReturnType<typeof sumOfFieldTimes>, ReturnType<typeof sumOfFieldTimes>];
    for (const { totalMs, airMs, chipMs, memoryMs } of [slow, quick]) expect(airMs + chipMs + memoryMs).toBeCloseTo(totalMs, 6);
    expect(quick).toMatchObject({ chipMs: slow.chipMs, memoryMs: slow.memoryMs });
    expect(quick.airMs).toBeLessThan(slow.airMs / 3);
    expect(slow.memoryMs).toBe(5);
  });

  it('takes the pages that were really written where somebody counted', () => {
    const [counted, uncounted] = fieldTimesOf([exchange('90C700000100', '9100', 7), exchange('90C700000100', '9100')], walletLink(106));
    expect([counted?.memoryMs, uncounted?.memoryMs]).toEqual([7, 5]);
    expect(fieldTimesOf([exchange('90C700000100', '919D')], walletLink(106))[0]?.memoryMs).toBe(0);
  });

  it('an error ends the session: what follows costs no cryptography, and its own answer none', async () => {
    const meter = new FieldTimeMeter(walletLink(106));
    for (const one of (await recordedPayment()).slice(0, 7)) meter.take(one);
    const refused = meter.take(exchange('90DC00001903F3D76F94045BE414EBEDF78276C9DC5C7EF4E77F07C858A300', '91BE'));
    expect(refused.aesBlocks).toBe(2 + 2 + 1);
    expect(meter.take(exchange('906C00000903698E07903B34B74800', '917E')).aesBlocks).toBe(0);
  });

  it.each([
    ['the field went off', (meter: FieldTimeMeter) => meter.reset()],
    ['a selection', (meter: FieldTimeMeter) => meter.take(exchange('00A4000002DF0100', '9000'))],
    ['a new authentication', (meter: FieldTimeMeter) => meter.take(exchange('9071000002010000', '91AE'))],
  ])('%s: the session is over', async (_name, end) => {
    const meter = new FieldTimeMeter(walletLink(106));
    for (const one of (await recordedPayment()).slice(0, 6)) meter.take(one);
    end(meter);
    expect(meter.take(exchange('906C0000010300', '000000009100')).aesBlocks).toBe(0);
  });

  it('what it does not know costs its air and a command', () => {
    const [broken, unknown, additional] = fieldTimesOf([exchange('90', '6700'), exchange('90FE000000', '911C'), exchange('90AF000000', '911C')], walletLink(106));
    expect(broken).toMatchObject({ command: 'unknown', chipMs: 0.95, memoryMs: 0 });
    expect(unknown).toMatchObject({ command: 'command FE', chipMs: 0.95 });
    expect(additional).toMatchObject({ command: 'command AF', chipMs: 0.95 });
  });
});

it('activation is the field coming on, six frames each way, and PPS above 106 kbit/s', () => {
  // Out 7, 2 and 9 bytes twice, 4; in 2, 5 and 3 twice, 8: 9 bits a byte, 2 for start and end; 5 ms first.
  const bits = 9 + (2 + 9 * 2) + 2 * (20 + 47 + 83 + 29) + 38 + 74;
  expect(activationFieldTime(106).airMs).toBeCloseTo(5 + (bits * 128 + 12 * 1172) / 13_560, 3);
  expect(activationFieldTime(424).airMs - activationFieldTime(106).airMs).toBeCloseTo(((47 + 29) * 128 + 2 * 1172) / 13_560, 2);
  expect(activationFieldTime(424)).toEqual(activationFieldTime(848));
});
