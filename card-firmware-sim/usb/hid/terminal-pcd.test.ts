/** The terminal's end of ISO/IEC 14443-4 against a card's end that another hand wrote. */
import { describe, expect, it } from 'vitest';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { ContactlessField } from '../field.ts';
import { Picc } from '../picc.ts';
import { fieldWithCard, TESTING_UID, TestingApplication } from './testing-hid-host.ts';
import { TerminalPcd } from './terminal-pcd.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { FieldFaultKind } from '../field.ts';

function numbers(length: number): Bytes {
  return Uint8Array.from({ length }, (_, i) => (7 * i + 3) & 0xff);
}

describe('finding', () => {
  it('reports UID, SAK and ATS of the one card, and has it active', async () => {
    const { field } = fieldWithCard();
    const pcd = new TerminalPcd(field);
    expect(await pcd.find()).toEqual({ kind: 'card', uid: TESTING_UID, sak: 0x20, ats: parseHex('067777710280') });
    expect(pcd.activeUid).toEqual(TESTING_UID);
  });

  it('reports a random UID of 4 bytes, another at each look', async () => {
    const { field } = fieldWithCard({ randomUid: true });
    const pcd = new TerminalPcd(field);
    const [first, second] = [await pcd.find(), await pcd.find()].map((found) => (found.kind === 'card' ? encodeHex(found.uid) : found.kind));
    expect(first).toMatch(/^08.{6}$/);
    expect(second).toMatch(/^08.{6}$/);
    expect(second).not.toBe(first);
  });

  it('tells nothing from several, and leaves the field off', async () => {
    const { field } = fieldWithCard();
    const other = new TestingApplication(parseHex('04112233445577'));
    const card = new Picc({ application: other });
    field.put(card);
    const pcd = new TerminalPcd(field);
    expect(await pcd.find()).toEqual({ kind: 'several' });
    expect(field.isOn).toBe(false);
    field.lift();
    expect(await pcd.find()).toEqual({ kind: 'none' });
    expect(await new TerminalPcd(new ContactlessField()).find()).toEqual({ kind: 'none' });
  });

  it.each([['0578807102', 'FSC 256'], ['0200', 'FSC 16, nothing else'], ['032581', 'TB without TA'], ['01', 'TL only'], ['08757781028055AA', 'historical bytes']])('understands the ATS %s: %s', async (ats) => {
    const { field, application } = fieldWithCard({ ats: parseHex(ats) });
    const pcd = new TerminalPcd(field);
    expect(await pcd.find()).toMatchObject({ ats: parseHex(ats) });
    const command = numbers(100);
    await pcd.exchange(command);
    expect(application.heard).toEqual([encodeHex(command)]);
  });
});

describe('exchanging', () => {
  it('carries every length both ways, each command once', async () => {
    const { field, application } = fieldWithCard();
    const pcd = new TerminalPcd(field);
    await pcd.find();
    for (let length = 1; length <= 261; length++) {
      const [command, answer] = [numbers(length), numbers(262 - length)];
      application.answer = () => answer;
      expect(await pcd.exchange(command), `${length} bytes`).toEqual(answer);
      expect(application.heard.at(-1)).toBe(encodeHex(command));
    }
    expect(application.heard).toHaveLength(261);
  });

  it('sits through a storm of S(WTX), but not for ever', async () => {
    const { field, card } = fieldWithCard();
    const pcd = new TerminalPcd(field, { commandLimitMs: 100 });
    await pcd.find();
    card.wtxStorm = 8;
    expect(await pcd.exchange(numbers(3))).toEqual(parseHex('030A119000'));
    card.wtxStorm = Infinity;
    expect(await pcd.exchange(numbers(3))).toBe('mute');
    expect(pcd.activeUid).toBeUndefined();
  });

  it.each<[FieldFaultKind, number]>([['drop-frame', 1], ['corrupt-frame', 1], ['drop-answer', 1], ['corrupt-answer', 1], ['drop-frame', 2], ['corrupt-answer', 2], ['drop-answer', 3], ['corrupt-frame', 3]])(
    'recovers from %s at frame %i without giving the command twice', async (kind, atFrame) => {
      const { field, application } = fieldWithCard();
      const pcd = new TerminalPcd(field);
      await pcd.find();
      field.inject({ kind, atFrame });
      const command = numbers(150);
      application.answer = () => numbers(255);
      expect(await pcd.exchange(command)).toEqual(numbers(255));
      expect(await pcd.exchange(command)).toEqual(numbers(255));
      expect(application.heard).toEqual([encodeHex(command), encodeHex(command)]);
    },
  );

  it('tells a card that left from one that fell silent, at rest and in the middle', async () => {
    const { field, application, card } = fieldWithCard();
    const pcd = new TerminalPcd(field);
    await pcd.find();
    expect(await pcd.isPresent()).toBe(true);
    expect(await pcd.exchange(numbers(5))).not.toBe('gone');
    expect(await pcd.isPresent()).toBe(true);
    field.inject({ kind: 'lift-after' });
    expect(await pcd.exchange(numbers(5))).toBe('gone');
    expect(application.heard).toHaveLength(2);
    expect(await pcd.exchange(numbers(5))).toBe('gone');
    field.put(card);
    await pcd.find();
    field.inject({ kind: 'drop-answer', times: 10, matches: ({ bytes }) => bytes[0] !== 0x26 });
    expect(await pcd.exchange(numbers(5))).toBe('mute');
    field.clearFaults();
    await pcd.find();
    field.lift();
    expect(await pcd.isPresent()).toBe(false);
    expect(application.heard).toHaveLength(3);
  });

  it('ends at once when the field is switched off', async () => {
    const { field, application, card } = fieldWithCard();
    const pcd = new TerminalPcd(field);
    await pcd.find();
    card.wtxStorm = Infinity;
    const answer = pcd.exchange(numbers(5));
    const look = pcd.find();
    pcd.off();
    expect(await answer).toBe('gone');
    expect(await look).toEqual({ kind: 'none' });
    expect(field.isOn).toBe(false);
    expect(application.heard.length).toBeLessThan(2);
  });
});
