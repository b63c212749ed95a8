import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { CardCommand } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { createApduGate, createOperatorGate, type PaymentPhase } from './apdu-gate.ts';
import type { CardChannel } from './card-channel.ts';

const signal = new AbortController().signal;
const SELECT = '00A4040C10A00000039656434103F015400000000B00';
const IDENTIFY = [SELECT, '9060000000', '90AF000000', '90AF000000', '9071000002010000'];
// From AN12343-style transcripts: a session of key 1 over our files.
const ANSWER = `90AF000020${'CF'.repeat(32)}00`;
const READ = ['906C00000903698E07903B34B74800', `90AB00000F01000000010000${'5A'.repeat(8)}00`, `90AD00000F0F0000000C0000${'A5'.repeat(8)}00`];
const SPC = [`908B00002F01000000100000${'3D'.repeat(40)}00`, '90DC00001903F3D76F94045BE414EBEDF78276C9DC5C7EF4E77F07C858A300', '90C700000901F60BFBF22189051C00', '906C00000903698E07903B34B74900'];

const MAC = 'A5'.repeat(8);
const OPEN_MASTER = [SELECT, '9071000002000000'];
const STATE = [`9051000008${MAC}00`, `906F000008${MAC}00`, ...[0, 1, 2, 3, 4].map((keyNumber) => `90640000090${keyNumber}${MAC}00`)];
const KEYS = [`90DF0000090F${MAC}00`, `90CE00002D0F${'44'.repeat(44)}00`, ...[1, 2, 3, 4, 0].map((keyNumber) => `90C40000290${keyNumber}${'11'.repeat(40)}00`)];
const REKEY = [...OPEN_MASTER, ...STATE, ...KEYS];

const command = (hex: string): CardCommand => ({ apdu: parseHex(hex), expectedStatus: 0x9100 });
const commands = (hex: readonly string[]) => hex.map(command);

function recordingChannel() {
  const sent: string[] = [];
  let closed = 0;
  const channel: CardChannel = {
    readerName: 'recorder',
    transmit(batch) {
      sent.push(...batch.map(({ apdu }) => encodeHex(apdu)));
      return Promise.resolve(batch.map((): Bytes => parseHex('9100')));
    },
    close() {
      closed++;
      return Promise.resolve();
    },
  };
  return { channel, sent, closedTimes: () => closed };
}

function gateAt(phase: PaymentPhase) {
  const recorder = recordingChannel();
  const gate = createApduGate(recorder.channel);
  for (const step of phase === 'rekey' ? (['identify', 'rekey'] as const) : (['identify', 'authenticate', 'read'] as const)) {
    gate.enter(step);
    if (step === phase) break;
  }
  return { ...recorder, gate, send: (hex: readonly string[]) => gate.channel.transmit(commands(hex), signal) };
}

const REFUSED = { code: 'reader/refused-command' };

describe('the gate of a payment', () => {
  test('lets a whole payment pass, phase by phase', async () => {
    const { gate, sent, send } = gateAt('identify');
    await send(IDENTIFY);
    gate.enter('authenticate');
    await send([ANSWER]);
    gate.enter('read');
    await send(READ);
    gate.allowExactly(commands(SPC));
    gate.consented();
    await send(SPC);
    gate.enter('identify');
    await send(IDENTIFY);
    expect(sent).toEqual([...IDENTIFY, ANSWER, ...READ, ...SPC, ...IDENTIFY]);
  });

  test('lets a payment pass that does not read the balance (0064)', async () => {
    const { gate, sent, send } = gateAt('authenticate');
    await send([ANSWER]);
    gate.allowExactly(commands(SPC));
    gate.consented();
    await send(SPC);
    expect(sent).toEqual([ANSWER, ...SPC]);
  });

  test.each<[PaymentPhase, string, string]>([
    ['identify', '9071000002000000', 'the challenge of key 0'],
    ['identify', '9071000002030000', 'the challenge of key 3'],
    ['identify', '90710000030101 0200'.replace(' ', ''), 'a challenge with capabilities (LRP)'],
    ['identify', '00A4000C02DF0100', 'a selection by file id'],
    ['identify', '00A4040C07D276000085010000', 'another application'],
    ['identify', `${SELECT}00`, 'a trailing byte'],
    ['identify', SELECT.slice(0, -2), 'a missing byte'],
    ['identify', ANSWER, 'an answer to a challenge that nobody of us asked for'],
    ['identify', '906000000000', 'GetVersion with a trailing byte'],
    ['authenticate', `90AF00001F${'CF'.repeat(31)}00`, 'a short answer'],
    ['authenticate', `90AF000021${'CF'.repeat(33)}00`, 'a long answer'],
    ['authenticate', READ[0]!, 'a reading before its phase'],
    ['read', `906C00000901${'00'.repeat(8)}00`, 'GetValue of another file'],
    ['read', `90AB00000F01000000020000${'5A'.repeat(8)}00`, 'two records'],
    ['read', `90AB00000F01010000010000${'5A'.repeat(8)}00`, 'an older record'],
    ['read', `90AD00000F000000000C0000${'A5'.repeat(8)}00`, 'ReadData of a standard file'],
    ['read', SPC[1]!, 'a debit'],
    ['read', `900C000019 03 ${'00'.repeat(24)}00`.replaceAll(' ', ''), 'a credit'],
    ['read', SPC[2]!, 'a commit'],
  ])('%s refuses %s: %s', async (phase, apdu) => {
    const { gate, sent, send, closedTimes } = gateAt(phase);
    await expect(send([apdu])).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
    expect(closedTimes()).toBe(1);
    // Shut: what was allowed before is not any more.
    await expect(send([IDENTIFY[0]!])).rejects.toMatchObject(REFUSED);
    expect(() => gate.enter('identify')).toThrow(expect.objectContaining(REFUSED) as Error);
  });

  test.each([
    ['identify', [...IDENTIFY, SELECT]],
    ['identify', [...IDENTIFY, '90AF000000']],
    ['authenticate', [ANSWER, ANSWER]],
    ['read', [...READ, READ[0]!]],
  ] as const)('%s refuses a command more often than the phase needs it, and sends nothing of the batch', async (phase, batch) => {
    const { sent, send } = gateAt(phase);
    await expect(send(batch)).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
  });

  test('entering a phase again does not renew its commands', async () => {
    const { gate, send } = gateAt('read');
    await send([READ[0]!]);
    gate.enter('read');
    await expect(send([READ[0]!])).rejects.toMatchObject(REFUSED);
  });

  test.each([
    ['authenticate', undefined],
    ['read', undefined],
    ['read', 'identify'],
  ] as const)('%s cannot be entered from %s', (phase, from) => {
    const { channel } = recordingChannel();
    const gate = createApduGate(channel);
    if (from !== undefined) gate.enter(from);
    expect(() => gate.enter(phase)).toThrow(expect.objectContaining(REFUSED) as Error);
  });

  test('nothing passes before the first phase, and no empty batch ever', async () => {
    const gate = createApduGate(recordingChannel().channel);
    await expect(gate.channel.transmit(commands([SELECT]), signal)).rejects.toMatchObject(REFUSED);
    await expect(gateAt('identify').send([])).rejects.toMatchObject(REFUSED);
  });

  test('conversations on one card are counted', () => {
    const { gate } = gateAt('identify');
    expect(() => {
      for (let i = 0; i < 20; i++) gate.enter('identify');
    }).toThrow(expect.objectContaining(REFUSED) as Error);
  });

  test('any command that is not in the table of its phase is refused', async () => {
    const table: Record<PaymentPhase, (hex: string) => boolean> = {
      identify: (hex) => IDENTIFY.includes(hex),
      rekey: (hex) =>
        hex === SELECT || /^(9071000002000000|9071000002010000|90AF000020.{64}00|9051000008.{16}00|906F000008.{16}00|9064000009.{18}00|90F50000090F.{16}00|90DF0000090F.{16}00|90CE00002D0F.{88}00|90C4000029.{82}00)$/.test(hex),
      authenticate: (hex) => /^90AF000020.{64}00$/.test(hex),
      read: (hex) => /^(906C00000903.{16}00|90AB00000F01000000(010000|000000).{16}00|90AD00000F0F0000000C0000.{16}00)$/.test(hex),
    };
    const anyBytes = fc.uint8Array({ minLength: 0, maxLength: 64 });
    // Mostly neighbours of what is allowed: one byte changed, dropped or added.
    const neighbour = fc
      .tuple(fc.constantFrom(...IDENTIFY, ANSWER, ...READ, ...SPC, ...REKEY), fc.nat(60), fc.nat(255), fc.constantFrom('set', 'drop', 'add'))
      .map(([hex, place, byte, change]) => {
        const bytes = [...parseHex(hex)];
        bytes.splice(place % bytes.length, change === 'add' ? 0 : 1, ...(change === 'drop' ? [] : [byte]));
        return Uint8Array.from(bytes);
      });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('identify', 'rekey', 'authenticate', 'read'), fc.oneof(neighbour, anyBytes), async (phase, apdu) => {
        const { send, sent } = gateAt(phase);
        const hex = encodeHex(apdu);
        const outcome = await send([hex]).then(() => 'passed', () => 'refused');
        expect(outcome).toBe(table[phase](hex) ? 'passed' : 'refused');
        expect(sent).toEqual(outcome === 'passed' ? [hex] : []);
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('newer keys', () => {
  const rekeying = () => {
    const at = gateAt('identify');
    at.gate.enter('rekey');
    return at;
  };

  test('pass under key 0, and then a payment goes on', async () => {
    const { gate, sent, send } = rekeying();
    const batches = [OPEN_MASTER, [ANSWER], STATE, [...KEYS, ...OPEN_MASTER], [ANSWER, SELECT, '9071000002010000']];
    for (const batch of batches) await send(batch);
    gate.enter('authenticate');
    await send([ANSWER]);
    gate.enter('read');
    await send(READ);
    expect(sent).toEqual([...batches.flat(), ANSWER, ...READ]);
  });

  test.each([
    ['9071000002030000', 'the challenge of key 3'],
    [`90DF00000901${MAC}00`, 'deleting the log'],
    [`90F500000903${MAC}00`, 'the settings of the value file'],
    [`90CE00002D0E${'44'.repeat(44)}00`, 'a transaction-MAC file elsewhere'],
    [`905F00001903${'22'.repeat(24)}00`, 'other rights'],
    [`905C00001909${'22'.repeat(24)}00`, 'other limits'],
    [READ[0]!, 'a reading'],
    [SPC[1]!, 'a debit'],
    ['905A00000300000000', 'the card level'],
  ])('bring %s not with them: %s', async (apdu) => {
    const { sent, send } = rekeying();
    await expect(send([apdu])).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
  });

  test('pass once a contact, and only after the card was identified', async () => {
    const { gate, send } = rekeying();
    await send(KEYS);
    gate.enter('rekey');
    await expect(send([KEYS[2]!])).rejects.toMatchObject(REFUSED);
    expect(() => gateAt('read').gate.enter('rekey')).toThrow(expect.objectContaining(REFUSED) as Error);
  });
});

describe('the debit', () => {
  test('does not pass without consent', async () => {
    const { gate, sent, send } = gateAt('read');
    gate.allowExactly(commands(SPC));
    await expect(send(SPC)).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
  });

  test.each<[string, (spc: string[]) => string[]]>([
    ['part of it', (spc) => spc.slice(0, 3)],
    ['another order', (spc) => spc.toReversed()],
    ['a command more', (spc) => [...spc, spc[0]!]],
    ['one bit changed', (spc) => spc.map((hex, index) => (index === 1 ? `${hex.slice(0, -4)}${hex.slice(-4, -2) === '00' ? '01' : '00'}00` : hex))],
  ])('is refused as %s', async (_, change) => {
    const { gate, sent, send } = gateAt('read');
    gate.allowExactly(commands(SPC));
    gate.consented();
    await expect(send(change(SPC))).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
  });

  test('with another expected status is refused: it could hide where the batch stops', async () => {
    const { gate, sent } = gateAt('read');
    gate.allowExactly(commands(SPC));
    gate.consented();
    await expect(gate.channel.transmit(commands(SPC).map((each) => ({ ...each, expectedStatus: 0x9000 })), signal)).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
  });

  test('passes once in the life of a gate, and never in parts', async () => {
    const { gate, sent, send } = gateAt('read');
    gate.allowExactly(commands(SPC));
    gate.consented();
    await send(SPC);
    await expect(send(SPC)).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual(SPC);
  });

  test('cannot be allowed again after it has passed, nor outlive its session', async () => {
    const { gate, send } = gateAt('read');
    gate.allowExactly(commands(SPC));
    gate.consented();
    await send(SPC);
    gate.enter('identify');
    gate.enter('authenticate');
    expect(() => gate.allowExactly(commands(SPC))).toThrow(expect.objectContaining(REFUSED) as Error);

    const other = gateAt('read');
    other.gate.allowExactly(commands(SPC));
    other.gate.enter('identify');
    expect(() => other.gate.consented()).toThrow(expect.objectContaining(REFUSED) as Error);
  });

  test('is what was allowed, not what the caller made of its bytes afterwards', async () => {
    const { gate, sent } = gateAt('read');
    const mine = commands(SPC);
    gate.allowExactly(mine);
    gate.consented();
    mine[0]!.apdu.fill(0);
    await expect(gate.channel.transmit(mine, signal)).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
  });

  test('consent without a statement is refused', () => {
    expect(() => gateAt('read').gate.consented()).toThrow(expect.objectContaining(REFUSED) as Error);
  });
});

describe("the gate of an operator's tool", () => {
  test('lets the commands of issuing and loading pass', async () => {
    const { channel, sent } = recordingChannel();
    const gated = createOperatorGate(channel);
    const issuing = ['9071000002000000', ANSWER, `90C4000029${'11'.repeat(41)}00`, `905C00001909${'22'.repeat(24)}00`, `90DF0000090F${'33'.repeat(8)}00`, `90CE00002D0F${'44'.repeat(44)}00`];
    await gated.transmit(commands([...IDENTIFY, ...issuing, ...READ, ...SPC]), signal);
    expect(sent).toHaveLength(IDENTIFY.length + issuing.length + READ.length + SPC.length);
  });

  test('lets a blank card get its key and its application', async () => {
    const { channel, sent } = recordingChannel();
    const blank = [
      '905A00000300000000', '90640000010000', '901A0000010000', `90AF000010${'11'.repeat(16)}00`, `90C400001980${'22'.repeat(24)}00`, '9071000002000000', ANSWER, `9054000018${'33'.repeat(24)}00`,
      `90CA00001F01534B0BA501DFA00000039656434103F015400000000B${'44'.repeat(8)}00`, `90CC0000190303301F00000000A08601000000000000${'55'.repeat(8)}00`, `90C00000140101EF033011100000050000${'66'.repeat(8)}00`,
    ];
    await createOperatorGate(channel).transmit(commands(blank), signal);
    expect(sent).toEqual(blank);
  });

  test.each([
    [`905C00001900${'22'.repeat(24)}00`, 'another configuration (random id for ever)'],
    [`90DF00000900${'33'.repeat(8)}00`, 'deleting another file'],
    ['90FC000000', 'FormatPICC'],
    ['905A00000301000000', 'an application by its identifier'],
    ['901A0000010100', 'another DES key'],
    [`90C400001900${'22'.repeat(24)}00`, 'a master key of another type'],
    [`90CA00001F01534B0FA501DFA00000039656434103F015400000000B${'44'.repeat(8)}00`, 'an application in which anybody creates files'],
    [`90CA00001F02534B0BA501DFA00000039656434103F015400000000B${'44'.repeat(8)}00`, 'another application'],
    [`90CC0000190303301F00000000A08601000100000000${'55'.repeat(8)}00`, 'a value file that is not empty'],
    [`90CC0000190303301FFFFFFFFFA08601000000000000${'55'.repeat(8)}00`, 'a value file that may be overdrawn'],
    [`90CC0000190303301F00000000A08601000000000001${'55'.repeat(8)}00`, 'a value file with LimitedCredit'],
    [`90CC000019030330EF00000000A08601000000000000${'55'.repeat(8)}00`, 'a value file that anybody may read'],
    [`90C00000140201EF033011100000050000${'66'.repeat(8)}00`, 'another record file'],
    ['90DA00000301534B00', 'deleting an application'],
    ['9071000002020000', 'key 2'],
  ])('refuses %s: %s', async (apdu) => {
    const { channel, sent } = recordingChannel();
    await expect(createOperatorGate(channel).transmit(commands([SELECT, apdu]), signal)).rejects.toMatchObject(REFUSED);
    expect(sent).toEqual([]);
  });
});
