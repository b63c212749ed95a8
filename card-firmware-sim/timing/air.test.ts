/** The air's model: its arithmetic by the standard's numbers, and as a whole against the times that the maker published. */
import { describe, expect, it } from 'vitest';
import { activationTimeUs, airTimeUs, BIT_RATES, exchangesOfCommand, FIELD_ON_US } from './air.ts';
import { AES_BLOCK_US, COMMAND_US } from './chip.ts';
import type { AirExchange, BitRate } from './air.ts';

const FC = 13.56;

describe('a frame', () => {
  it('WUPA and ATQA: 9 and 20 etu, and a frame delay after each', () => {
    expect(airTimeUs({ bitsOut: 7, bitsIn: 16 }, 106)).toBeCloseTo((29 * 128 + 2 * 1172) / FC, 6);
  });

  it('a byte more is 9 bits more, which are shorter the higher the rate', () => {
    for (const [bitRate, periods] of [[106, 128], [212, 64], [424, 32], [848, 16]] as const) {
      const byteUs = airTimeUs({ bitsOut: 48, bitsIn: 24 }, bitRate) - airTimeUs({ bitsOut: 40, bitsIn: 24 }, bitRate);
      expect(byteUs).toBeCloseTo((9 * periods) / FC, 6);
    }
  });

  it('nobody answers: the frame alone', () => {
    expect(airTimeUs({ bitsOut: 7, bitsIn: null }, 106)).toBeCloseTo((9 * 128) / FC, 6);
    expect(airTimeUs({ bitsOut: 16, bitsIn: null }, 848)).toBeCloseTo((20 * 16) / FC, 6);
  });

  it('above 106 kbit/s a card begins its answer with 32 periods of its subcarrier', () => {
    expect(airTimeUs({ bitsOut: 8, bitsIn: 8 }, 424)).toBeCloseTo((2 * 11 * 32 + 32 * 16 + 2 * 1172) / FC, 6);
  });
});

describe('a command', () => {
  const bits = (...bytes: number[]): number[] => bytes.map((count) => 8 * count);
  const frames = (exchanges: readonly AirExchange[]) => exchanges.map(({ bitsOut, bitsIn }) => [bitsOut, bitsIn]);

  it('that fits is one frame each way, with prologue and CRC', () => {
    expect(frames(exchangesOfCommand(125, 253))).toEqual([bits(128, 256)]);
  });

  it('that does not fit is chained, each link but the last acknowledged by the card', () => {
    expect(frames(exchangesOfCommand(126, 2))).toEqual([bits(128, 3), bits(4, 5)]);
    expect(frames(exchangesOfCommand(251, 2))).toEqual([bits(128, 3), bits(128, 3), bits(4, 5)]);
  });

  it('whose answer does not fit has it chained, each link but the last acknowledged by the reader', () => {
    expect(frames(exchangesOfCommand(5, 254))).toEqual([bits(8, 256), bits(3, 4)]);
  });

  it('is cut as the two have agreed', () => {
    expect(frames(exchangesOfCommand(61, 62, { cardFrameBytes: 64, readerFrameBytes: 64 }))).toEqual([bits(64, 64), bits(3, 4)]);
    expect(frames(exchangesOfCommand(253, 253, { cardFrameBytes: 256, readerFrameBytes: 256 }))).toEqual([bits(256, 256)]);
  });
});

describe('the model as a whole', () => {
  /** NXP's measurement, from REQA to deselection: 1 kB of one MIFARE DESFire with frames of 64 bytes, plain and enciphered, in milliseconds. */
  const MEASURED: Record<BitRate, readonly [plain: number, enciphered: number]> = { 106: [130, 171], 212: [80, 116], 424: [52, 86], 848: [43, 76] };
  const KILOBYTE = 1024;
  const NATIVE = { cardFrameBytes: 64, readerFrameBytes: 64 };

  /** Native framing: a status byte and 59 bytes of data an answer, asked for by AF. */
  function readKilobyteMs(bitRate: BitRate, bytes: number, chipUs: number): number {
    const commands: [number, number][] = [[4, 1]];
    for (let rest = bytes; rest > 0; rest -= 59) commands.push([rest === bytes ? 8 : 1, 1 + Math.min(59, rest)]);
    const air = commands.flatMap(([command, answer]) => exchangesOfCommand(command, answer, NATIVE));
    const deselection: AirExchange = { bitsOut: 24, bitsIn: 24 };
    const airUs = [...air, deselection].reduce((sum, exchange) => sum + airTimeUs(exchange, bitRate), activationTimeUs(bitRate) - FIELD_ON_US);
    return (airUs + commands.length * COMMAND_US + chipUs) / 1000;
  }

  it.each(BIT_RATES)('gives back what was measured at %i kbit/s, within 6 %%', (bitRate) => {
    const [plain, enciphered] = MEASURED[bitRate];
    expect(Math.abs(readKilobyteMs(bitRate, KILOBYTE, 0) / plain - 1)).toBeLessThan(0.06);
    // Checksum and padding make it one block of 8 bytes longer.
    expect(Math.abs(readKilobyteMs(bitRate, KILOBYTE + 8, (KILOBYTE / 16) * AES_BLOCK_US) / enciphered - 1)).toBeLessThan(0.06);
  });
});
