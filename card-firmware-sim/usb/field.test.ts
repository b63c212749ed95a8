import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { concatBytes, encodeHex, equalBytes, parseHex } from '#protocol/bytes.ts';
import { bitAt, crcA, shortFrame, wholeFrame, withCrc } from './air-frame.ts';
import { ContactlessField, exchangeWithCrc } from './field.ts';
import type { FieldAnswer, FieldFaultKind } from './field.ts';
import { PcdIsoDep, requestAts, selectCard } from './pcd.ts';
import { Picc } from './picc.ts';
import type { PiccOptions } from './picc.ts';
import { EchoApplication } from './testing-application.ts';

interface Laying extends Partial<PiccOptions> {
  application?: EchoApplication;
  /** Time-outs take their time; otherwise they pass as soon as everybody had a turn. */
  realTime?: boolean;
}

function laidOut(options: Laying = {}) {
  const application = options.application ?? new EchoApplication();
  const field = options.realTime === true ? new ContactlessField() : new ContactlessField({ wait: () => delay(0) });
  const card = new Picc({ ...options, application });
  field.put(card);
  field.turnOn();
  return { application, field, card };
}

const heard = (answer: FieldAnswer): string => (answer.kind === 'frame' ? encodeHex(answer.frame.bytes) : answer.kind);

async function activated(options: Laying = {}, fsdi = 8) {
  const laid = laidOut(options);
  await selectCard(laid.field);
  const ats = await requestAts(laid.field, fsdi, 0);
  if (ats === undefined) throw new Error('no ATS');
  return { ...laid, ats, isoDep: new PcdIsoDep(laid.field, ats) };
}

const block = async (field: ContactlessField, hex: string): Promise<string> => {
  const answer = await exchangeWithCrc(field, parseHex(hex), 50);
  return answer.kind === 'answer' ? encodeHex(answer.bytes) : answer.kind;
};

describe('CRC_A', () => {
  it('is that of ISO/IEC 14443-3, annex B', () => {
    expect(encodeHex(crcA(parseHex('0000')))).toBe('A01E');
    expect(encodeHex(crcA(parseHex('1234')))).toBe('26CF');
    expect(encodeHex(crcA(parseHex('5000')))).toBe('57CD');
  });
});

describe('the card of type A', () => {
  it('is found, selected in two levels and activated, frame by frame', async () => {
    const { field } = laidOut();
    expect(heard(await field.exchange(shortFrame(0x26), 5))).toBe('4403');
    expect(heard(await field.exchange(wholeFrame(parseHex('9320')), 5))).toBe('88041122BF');
    expect(await block(field, '937088041122BF')).toBe('04');
    expect(heard(await field.exchange(wholeFrame(parseHex('9520')), 5))).toBe('3344556644');
    expect(await block(field, '95703344556644')).toBe('20');
    expect(await block(field, 'E080')).toBe('067777710280');
  });

  it('has a UID of its own at each start of the field, if it was made so', async () => {
    const { field } = laidOut({ randomUid: true });
    const seen = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const selected = await selectCard(field);
      if (typeof selected === 'string') throw new Error(selected);
      expect(encodeHex(selected.atqa)).toBe('0403');
      expect(selected.uid).toHaveLength(4);
      expect(selected.uid[0]).toBe(0x08);
      seen.add(encodeHex(selected.uid));
      field.turnOff();
      field.turnOn();
    }
    expect(seen.size).toBeGreaterThan(1);
  });

  it.each([
    ['select with a wrong CRC', '937088041122BF0000'],
    ['select of another card', encodeHex(withCrc(parseHex('937088041123BE')))],
    ['the second level first', '9520'],
    ['a code alone', '93'],
    ['NVB with too many bits', '93710000'],
    ['NVB of less than itself', '9310'],
    ['RATS before selection', encodeHex(withCrc(parseHex('E080')))],
    ['REQA again', '26'],
    ['nothing', ''],
  ])('falls silent and back to idle: %s', async (_name, hex) => {
    const { field, card } = laidOut();
    await field.exchange(shortFrame(0x26), 5);
    expect(heard(await field.exchange(wholeFrame(parseHex(hex)), 5))).toBe('silence');
    expect(card.state).toBe('idle');
    expect(heard(await field.exchange(shortFrame(0x26), 5))).toBe('4403');
  });

  it('is halted by HLTA and by S(DESELECT), and then hears WUPA only', async () => {
    const { field, card, application } = await activated();
    expect(await block(field, 'C2')).toBe('C2');
    expect(card.state).toBe('halt');
    await card.idle();
    expect(application.resets).toBe(1);
    expect(heard(await field.exchange(shortFrame(0x26), 5))).toBe('silence');
    expect(heard(await field.exchange(shortFrame(0x52), 5))).toBe('4403');
    expect(heard(await field.exchange(shortFrame(0x52), 5))).toBe('silence');
    expect(card.state).toBe('halt');
  });

  it('that speaks ISO-DEP hears neither WUPA nor a second RATS', async () => {
    const { field } = await activated();
    expect(heard(await field.exchange(shortFrame(0x52), 5))).toBe('silence');
    expect(await block(field, 'E080')).toBe('silence');
    expect(await block(field, '0290600000')).toBe('02906000009000');
  });

  it('answers anticollision frames that know some bits with the others', async () => {
    await fc.assert(fc.asyncProperty(fc.integer({ min: 0, max: 39 }), async (known) => {
      const { field } = laidOut();
      await field.exchange(shortFrame(0x26), 5);
      const ours = parseHex('88041122BF');
      const nvb = (((known + 16) >> 3) << 4) | (known & 7);
      const frame = concatBytes(new Uint8Array([0x93, nvb]), ours.slice(0, Math.ceil(known / 8)));
      const answer = await field.exchange({ bytes: frame, lastBits: ((known + 15) & 7) + 1 }, 5);
      if (answer.kind !== 'frame') throw new Error(answer.kind);
      for (let i = known; i < 40; i++) expect(bitAt(answer.frame.bytes, i - known)).toBe(bitAt(ours, i));
    }), { numRuns: 40 });
  });
});

describe('two cards', () => {
  const uid = fc.uint8Array({ minLength: 7, maxLength: 7 }).map((bytes) => new Uint8Array(bytes));
  it('collide at the first bit in which their UIDs differ, whatever these are', async () => {
    await fc.assert(fc.asyncProperty(uid, uid, async (a, b) => {
      fc.pre(!equalBytes(a, b) && a[0] !== 0x88 && b[0] !== 0x88);
      const { field } = laidOut({ application: new EchoApplication(a) });
      field.put(new Picc({ application: new EchoApplication(b) }));
      const sameFirst = equalBytes(a.subarray(0, 3), b.subarray(0, 3));
      await field.exchange(shortFrame(0x26), 5);
      if (!sameFirst) {
        const answer = await field.exchange(wholeFrame(parseHex('9320')), 5);
        if (answer.kind !== 'collision') throw new Error(answer.kind);
        const [x, y] = [concatBytes(parseHex('88'), a), concatBytes(parseHex('88'), b)];
        for (let i = 0; i < answer.bits; i++) expect(bitAt(x, i)).toBe(bitAt(y, i));
        expect(bitAt(x, answer.bits)).not.toBe(bitAt(y, answer.bits));
      }
      expect(await selectCard(field)).toBe('several');
    }), { numRuns: 100 });
  });
});

describe('ISO-DEP on the card', () => {
  it('sends the last block again, and carries nothing out twice (rules 11 and 12)', async () => {
    const { field, application } = await activated();
    expect(await block(field, 'B2')).toBe('A3');
    expect(await block(field, '02AA')).toBe('02AA9000');
    expect(await block(field, 'B2')).toBe('02AA9000');
    expect(await block(field, 'B3')).toBe('A2');
    expect(application.commands).toHaveLength(1);
  });

  it('asks for time while the application works, again if the request was lost, and answers in the end', async () => {
    const application = new EchoApplication();
    application.answer = () => delay(60, parseHex('9000'));
    const { field } = await activated({ application, realTime: true });
    expect(await block(field, '02AA')).toBe('F201');
    expect(await block(field, 'B2')).toBe('F201');
    expect(await block(field, 'F202')).toBe('silence');
    let answer = await block(field, 'F201');
    for (let i = 0; i < 10 && answer === 'F201'; i++) answer = await block(field, 'F201');
    expect(answer).toBe('029000');
    expect(application.commands).toHaveLength(1);
  });

  it('that hangs asks for time for ever', async () => {
    const application = new EchoApplication();
    application.answer = () => 'mute';
    const { field } = await activated({ application, realTime: true, wait: () => delay(0) });
    expect(await block(field, '02AA')).toBe('F201');
    for (let i = 0; i < 20; i++) expect(await block(field, 'F201')).toBe('F201');
  });

  it('is out of the field when the application tears', async () => {
    const application = new EchoApplication();
    application.answer = () => 'tear';
    const { field } = await activated({ application });
    expect(await block(field, '02AA')).toBe('silence');
    expect(field.cards).toHaveLength(0);
    expect(application.resets).toBe(1);
  });

  it.each([
    ['an unknown block', 'E2'], ['R(ACK) with data', 'A200'], ['S(WTX) that nobody asked for', 'F201'],
    ['a CID that is not its own', '0A01AA'], ['a NAD', '0600AA'], ['longer than FSC', `02${'AA'.repeat(126)}`],
  ])('says nothing to %s, and goes on', async (_name, hex) => {
    const { field, application } = await activated();
    expect(await block(field, hex)).toBe('silence');
    expect(await block(field, '02AA')).toBe('02AA9000');
    expect(application.commands).toHaveLength(1);
  });

  it('with a CID answers to that CID, and with it', async () => {
    const { field } = laidOut();
    await selectCard(field);
    await requestAts(field, 8, 5);
    expect(await block(field, '02AA')).toBe('silence');
    expect(await block(field, '0A05AA')).toBe('0A05AA9000');
  });

  it('carries any command out exactly once, whatever frames are lost, at any frame sizes', async () => {
    const kinds = fc.constantFrom<FieldFaultKind>('drop-frame', 'drop-answer', 'corrupt-frame', 'corrupt-answer');
    const scenario = fc.record({
      commands: fc.array(fc.uint8Array({ minLength: 1, maxLength: 300 }), { minLength: 1, maxLength: 3 }),
      fsci: fc.integer({ min: 0, max: 8 }), fsdi: fc.integer({ min: 0, max: 8 }), storm: fc.integer({ min: 0, max: 3 }),
      faults: fc.array(fc.record({ kind: kinds, atFrame: fc.integer({ min: 1, max: 60 }) }), { maxLength: 6 }),
    });
    await fc.assert(fc.asyncProperty(scenario, async ({ commands, fsci, fsdi, storm, faults }) => {
      const ats = new Uint8Array([0x06, 0x70 | fsci, 0x77, 0x71, 0x02, 0x80]);
      const { field, card, application, isoDep } = await activated({ ats, wait: () => delay(1) }, fsdi);
      card.wtxStorm = storm;
      // Two lost in a row are within what a reader bears; more are its right to give up.
      const far = faults.filter((fault, i) => faults.every((other, j) => j >= i || Math.abs(other.atFrame - fault.atFrame) > 8));
      for (const fault of far) field.inject(fault);
      for (const command of commands) {
        expect(await isoDep.transceive(new Uint8Array(command), 5_000)).toEqual(concatBytes(command, parseHex('9000')));
      }
      expect(application.commands.map(encodeHex)).toEqual(commands.map(encodeHex));
    }), { numRuns: 60 });
  });
});

describe('the field', () => {
  it('hears a card that was too late for one frame in the next', async () => {
    const application = new EchoApplication();
    application.answer = () => delay(30, parseHex('9000'));
    const { field } = await activated({ application, realTime: true, wtxShare: 1 });
    expect(heard(await field.exchange(wholeFrame(withCrc(parseHex('02AA'))), 5))).toBe('silence');
    // The card is at work and does not hear this; the reader hears its answer all the same.
    expect(await block(field, 'B3')).toBe('029000');
    expect(application.commands).toHaveLength(1);
  });

  it('loses the card before a frame, or after it was carried out', async () => {
    for (const [kind, carriedOut] of [['lift-before', 0], ['lift-after', 1]] as const) {
      const { field, application, isoDep } = await activated();
      field.inject({ kind, matches: ({ bytes }) => bytes[0] === 0x02 });
      expect(await isoDep.transceive(parseHex('AA'), 1_000)).toBe('silent');
      expect(application.commands).toHaveLength(carriedOut);
      expect(application.resets).toBe(1);
      expect(field.cards).toHaveLength(0);
    }
  });

  it('that goes off ends a frame under way in silence and resets the card once its command is done', async () => {
    const application = new EchoApplication();
    application.answer = () => delay(15, parseHex('9000'));
    const { field, card } = await activated({ application, realTime: true });
    const pending = field.exchange(wholeFrame(withCrc(parseHex('02AA'))), 10_000);
    await delay(2);
    field.turnOff();
    expect(heard(await pending)).toBe('silence');
    expect(application.resets).toBe(0);
    await card.idle();
    expect(application.resets).toBe(1);
  });
});

it('a chip that was at work when its field went away carries out nothing after what it is told later', async () => {
  const { field, card, application } = await activated({ realTime: true });
  card.workMs = 30;
  const cut = field.exchange(wholeFrame(withCrc(parseHex('020101'))), 5);
  card.workMs = 0;
  await cut;
  field.turnOff();
  field.turnOn();
  await selectCard(field);
  await requestAts(field, 8, 0);
  await block(field, '020202');
  await card.idle();
  expect(application.commands.map(encodeHex)).toEqual(['0101', '0202']);
});
