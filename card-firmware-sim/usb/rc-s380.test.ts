import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { ContactlessField } from './field.ts';
import { Picc } from './picc.ts';
import { RcS380 } from './rc-s380.ts';
import type { RcS380Options } from './rc-s380.ts';
import { ACK, encodeDataFrame, ERROR, parseFrame } from './rc-s380-frames.ts';
import { EchoApplication } from './testing-application.ts';

const hex = (text: string): Bytes => parseHex(text.replaceAll(/\s/g, ''));
const ACK_HEX = encodeHex(ACK);

function laidOut(options: Partial<RcS380Options> = {}, cards = [new EchoApplication()]) {
  const field = new ContactlessField();
  for (const application of cards) field.put(new Picc({ application, ats: hex('067577810280') }));
  const device = new RcS380({ field, ...options });
  const read = async (limitMs = 2_000): Promise<string> => {
    const answer = await device.transferIn(1, 512, AbortSignal.timeout(limitMs));
    return answer instanceof Uint8Array ? encodeHex(answer) : String(answer);
  };
  /** The reply frame to this frame, after its acknowledgement. */
  const frame = async (bytes: Bytes): Promise<string> => {
    await device.transferOut(2, bytes);
    if (bytes.length % 64 === 0) await device.transferOut(2, new Uint8Array());
    expect(await read()).toBe(ACK_HEX);
    return read();
  };
  /** The reply's payload to this payload. */
  const command = async (payload: string): Promise<string> => {
    const reply = parseFrame(parseHex(await frame(encodeDataFrame(hex(payload)))));
    return reply instanceof Uint8Array ? encodeHex(reply) : 'nonsense';
  };
  const ready = async () => {
    for (const payload of ['D62A01', 'D60002030F03', 'D60204010501']) await command(payload);
  };
  return { field, device, read, frame, command, ready, application: cards[0]! };
}

/** Frames as traced in nfcpy#11 (the first three) and computed after it. */
const SENSE = [
  ['SetCommandType 1', '0000FFFFFF0300FDD62A01FF00', '0000FFFFFF0300FDD72B00FE00'],
  ['GetFirmwareVersion', '0000FFFFFF0200FED6200A00', '0000FFFFFF0400FCD7211101F600'],
  ['SwitchRF off', '0000FFFFFF0300FDD606002400', '0000FFFFFF0300FDD707002200'],
  ['InSetRF 106A', '0000FFFFFF0600FAD60002030F031300', '0000FFFFFF0300FDD701002800'],
  ['InSetProtocol, defaults', '0000FFFFFF2800D8D602 0018010102010300040005000600070808000900 0A000B000C000E040F0010001100120013064B00', '0000FFFFFF0300FDD703002600'],
  ['InSetProtocol to sense', '0000FFFFFF0C00F4D60200060100020005010707 0B00', '0000FFFFFF0300FDD703002600'],
  ['REQA', '0000FFFFFF0500FBD604360126C900', '0000FFFFFF0900F7D70500000000084403D500'],
  ['8 bits, parity', '0000FFFFFF0600FAD602040107081400', '0000FFFFFF0300FDD703002600'],
  ['CRC off', '0000FFFFFF0600FAD602010002002500', '0000FFFFFF0300FDD703002600'],
] as const;

describe('the RC-S380', () => {
  it('describes itself as the real one does', () => {
    const { descriptors } = laidOut().device;
    expect(encodeHex(descriptors.device)).toBe('12010002FF0000404C05C306000101020301');
    expect(encodeHex(descriptors.configuration)).toBe('0902200001010080FA0904000002FF0000000705810240000007050202400000');
  });

  it('answers the traced frames byte for byte, up to the card\'s ATS', async () => {
    const { frame, command } = laidOut();
    for (const [name, sent, received] of SENSE) expect([name, await frame(hex(sent))]).toEqual([name, received]);
    expect(await frame(hex('0000FFFFFF0600FAD604360193203C00'))).toBe(encodeHex(encodeDataFrame(hex('D705 00000000 08 88041122BF'))));
    expect(await frame(hex('0000FFFFFF0600FAD602010102012300'))).toBe('0000FFFFFF0300FDD703002600');
    expect(await command('D6043601937088041122BF')).toBe('D705000000000804');
    await command('D60201000200');
    expect(await frame(hex('0000FFFFFF0600FAD604360195203A00'))).toBe(encodeHex(encodeDataFrame(hex('D705 00000000 08 3344556644'))));
    await command('D60201010201');
    expect(await command('D604360195703344556644')).toBe('D705000000000820');
    expect(await frame(hex('0000FFFFFF0600FAD6043601E0808F00'))).toBe(encodeHex(encodeDataFrame(hex('D705 00000000 08 067577810280'))));
    expect(await command('D60436010290600000 00')).toBe('D705000000000802906000 00009000'.replace(' ', ''));
  });

  it('says that no card is there, after the time it was given', async () => {
    const { frame } = laidOut({}, []);
    for (const [, sent] of SENSE.slice(0, 6)) await frame(hex(sent));
    const start = performance.now();
    expect(await frame(hex('0000FFFFFF0500FBD604360126C900'))).toBe('0000FFFFFF0700F9D70580000000 00A400'.replace(' ', ''));
    expect(performance.now() - start).toBeGreaterThan(29);
  });

  it('honours each setting of its radio', async () => {
    const { command, ready, field } = laidOut();
    await ready();
    await command('D602 0100 0200 0707'.replaceAll(' ', ''));
    expect(await command('D604640026')).toBe('D70500000000084403');
    // Seven bits of a select are no select.
    expect(await command('D60464009320')).toBe('D7058000000000');
    await command('D6020708');
    expect(await command('D604640026')).toBe('D7058000000000');
    await command('D6020707');
    await command('D604640026');
    // Checking a CRC where there is none, then sending without parity.
    await command('D60207080201');
    expect(await command('D60464009320')).toBe('D7050400000000');
    await command('D6020400');
    expect(await command('D60464009320')).toBe('D7058000000000');
    await command('D602040105000200');
    await command('D6020707');
    expect(await command('D604640026')).toBe('D7050200000000');
    // Another speed than the card's.
    await command('D60004040F04');
    await command('D6020501');
    expect(await command('D604640052')).toBe('D7058000000000');
    await command('D60600');
    expect(field.isOn).toBe(false);
  });

  it('reports a collision of several cards', async () => {
    const { command, ready } = laidOut({}, [new EchoApplication(), new EchoApplication(hex('04998877665544'))]);
    await ready();
    await command('D602010002000707');
    expect(await command('D604640026')).toBe('D70500000000084403');
    await command('D6020708');
    expect(await command('D60464009320')).toBe('D7050800000000');
  });

  it.each([
    ['a setting before SetCommandType', 'D60600', 'D70707'], ['a frame before SetCommandType', 'D604640026', 'D7050100000000'],
    ['a command type that is none', 'D62A02', 'D72B01'], ['SetCommandType with nothing', 'D62A', 'D72B01'], ['ResetDevice with nothing', 'D612', 'D71301'],
  ])('refuses %s', async (_name, payload, reply) => {
    expect(await laidOut().command(payload)).toBe(reply);
  });

  it.each([
    ['unknown RF settings', 'D60002030F04', 'D70101'], ['RF settings cut off', 'D60002030F', 'D70101'], ['a key without a value', 'D60201', 'D70301'],
    ['an unknown key', 'D6021400', 'D70301'], ['a bit count of 9', 'D6020709', 'D70301'], ['a switch half on', 'D6020102', 'D70301'],
    ['no settings', 'D602', 'D70301'], ['a switch of RF that is none', 'D60602', 'D70701'], ['a frame without data', 'D6046400', 'D7050100000000'],
    ['a frame too long', `D6046400${'00'.repeat(291)}`, 'D7051000000000'],
  ])('refuses %s', async (_name, payload, reply) => {
    const { command, ready } = laidOut();
    await ready();
    expect(await command(payload)).toBe(reply);
  });

  it.each([
    ['a wrong length checksum', '0000FFFFFF0300FED62A01FF00'], ['a wrong checksum', '0000FFFFFF0300FDD62A01FE00'], ['a length too long', '0000FFFFFF0400FCD62A01FF00'],
    ['a frame cut off', '0000FFFFFF0300FDD62A01'], ['another postamble', '0000FFFFFF0300FDD62A01FF01'], ['another start', '0000FF00FF0300FDD62A01FF00'], ['a byte', '00'],
  ])('answers %s with an error frame alone', async (_name, sent) => {
    const { device, read } = laidOut();
    await device.transferOut(2, hex(sent));
    expect(await read()).toBe(encodeHex(ERROR));
  });

  it('acknowledges a command that it does not know, and then says so', async () => {
    const { frame } = laidOut();
    expect(await frame(encodeDataFrame(hex('D640')))).toBe(encodeHex(ERROR));
  });

  it('waits for an empty packet after a frame of whole packets', async () => {
    const { device, read, ready } = laidOut();
    await ready();
    // 10 bytes of frame, 54 of payload.
    const frame = encodeDataFrame(concatBytes(hex('D6040A00'), new Uint8Array(50)));
    expect(frame).toHaveLength(64);
    await device.transferOut(2, frame);
    expect(await read(20)).toBe('');
    await device.transferOut(2, new Uint8Array());
    expect(await read()).toBe(ACK_HEX);
    expect(await read()).toBe(encodeHex(encodeDataFrame(hex('D705 8000000000'))));
  });

  it('drops the command under way when the host acknowledges', async () => {
    const { device, read, command, ready } = laidOut({}, []);
    await ready();
    // It would listen for 6.5 s.
    await device.transferOut(2, encodeDataFrame(hex('D604 FFFF 26')));
    expect(await read()).toBe(ACK_HEX);
    await device.transferOut(2, ACK);
    expect(await read(40)).toBe('');
    expect(await command('D620')).toBe('D7211101');
  });

  it('misbehaves as told, and no longer', async () => {
    const { device, read, command } = laidOut();
    const get = encodeDataFrame(hex('D620'));
    const right = '0000FFFFFF0400FCD7211101F600';
    const after = async (misbehave: Partial<RcS380['misbehave']>, count: number) => {
      Object.assign(device.misbehave, misbehave);
      await device.transferOut(2, get);
      const seen: string[] = [];
      for (let i = 0; i < count; i++) seen.push(await read());
      return seen;
    };
    expect(await after({ missingAck: 1 }, 1)).toEqual([right]);
    expect(await after({ checksum: 1 }, 2)).toEqual([ACK_HEX, right.replace('F600', 'F700')]);
    expect(await after({ stale: 1 }, 3)).toEqual([right, ACK_HEX, right]);
    expect(await after({ error: 1 }, 1)).toEqual([encodeHex(ERROR)]);
    expect((await after({ garbage: 1 }, 2))[1]).toHaveLength(right.length);
    expect(await after({ swallow: 1 }, 1)).toEqual([ACK_HEX]);
    expect(await read(20)).toBe('');
    expect(await command('D620')).toBe('D7211101');
  });

  it('acknowledges and answers any payload once', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(0xff), fc.uint8Array({ maxLength: 60 }), async (code, args) => {
      const { device, frame } = laidOut();
      const reply = await frame(encodeDataFrame(concatBytes(new Uint8Array([0xd6, code]), args)));
      const payload = parseFrame(parseHex(reply));
      if (payload instanceof Uint8Array) expect([payload[0], payload[1]]).toEqual([0xd7, code + 1]);
      else expect(reply).toBe(encodeHex(ERROR));
      expect(await device.transferIn(1, 64, AbortSignal.abort())).toHaveLength(0);
    }));
  });

  it('reports a wrong CRC of the card', async () => {
    const { command, ready, field } = laidOut();
    await ready();
    await command('D602010002000707');
    await command('D604640026');
    await command('D60207080101');
    await command('D6020201');
    field.inject({ kind: 'corrupt-answer' });
    expect(await command('D604640 0937088041122BF'.replace(' ', ''))).toBe('D7050400000000');
  });

  it('forgets its settings at a reset', async () => {
    const { device, command, ready, field } = laidOut();
    await ready();
    await command('D60601');
    device.reset();
    expect(field.isOn).toBe(false);
    expect(await command('D60600')).toBe('D70707');
  });
});

describe('its frames', () => {
  const payload = fc.uint8Array({ maxLength: 400 }).map((bytes) => new Uint8Array(bytes));

  it('come back as they were written', () => {
    fc.assert(fc.property(payload, (bytes) => {
      expect(parseFrame(encodeDataFrame(bytes))).toEqual(bytes);
    }));
  });

  it('are refused with any one bit changed', () => {
    fc.assert(fc.property(payload, fc.nat(), (bytes, at) => {
      const frame = encodeDataFrame(bytes);
      const bit = at % (8 * frame.length);
      frame[bit >> 3] = (frame[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(parseFrame(frame)).toBeUndefined();
    }));
  });
});
