import { describe, expect, test } from 'vitest';
import { recogniseReader } from '#bridge/reader-registry.ts';
import type { ReaderList } from '#bridge/native/messages.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { ReaderBackend } from '../backend.ts';
import { findPcscTroubles, kindOf } from './pcsc-findings.ts';

/** A service with that list, and a card that answers as given. */
function service(list: ReaderList, answers: Readonly<Record<string, string>> = {}): ReaderBackend & { readonly commands: string[]; closed: number } {
  const commands: string[] = [];
  const backend = {
    name: 'pcsc' as const,
    commands,
    closed: 0,
    watch(onChange: (list: ReaderList) => void) {
      onChange(list);
      return { stop: () => undefined };
    },
    connect: () => {
      if (Object.keys(answers).length === 0) return Promise.reject(new Failure('reader/in-use'));
      return Promise.resolve({
        atr: new Uint8Array(),
        transmit: (apdu: Bytes) => {
          commands.push(encodeHex(apdu));
          return Promise.resolve(parseHex(answers[commands.length] ?? '9100'));
        },
        close: () => {
          backend.closed++;
          return Promise.resolve();
        },
      });
    },
    close: () => Promise.resolve({ idle: true }),
  };
  return backend;
}

const options = { usbReaders: [], askCard: false };
const PRESENT: ReaderList = { readers: [{ name: 'R', state: 'present', atr: '3B8180018080' }] };
const LIGHT = '04080130001305';

describe('the PC/SC service', () => {
  test('that is not there is one finding', async () => {
    expect(await findPcscTroubles(service({ readers: [], problem: 'reader/no-service' }), options)).toEqual([{ id: 'pcsc-service', state: 'problem', seen: 'it does not answer (reader/no-service)' }]);
  });

  test('without a reader is a problem only where a reader for it is on USB', async () => {
    expect(await findPcscTroubles(service({ readers: [] }), options)).toContainEqual(expect.objectContaining({ id: 'pcsc-reader', state: 'unknown' }));
    const acr = recogniseReader(0x072f, 0x2200);
    const sony = recogniseReader(0x054c, 0x06c1);
    expect(await findPcscTroubles(service({ readers: [] }), { ...options, usbReaders: [acr!] })).toContainEqual(expect.objectContaining({ id: 'pcsc-reader', state: 'problem' }));
    expect(await findPcscTroubles(service({ readers: [] }), { ...options, usbReaders: [sony!] })).toContainEqual(expect.objectContaining({ id: 'pcsc-reader', state: 'unknown' }));
  });

  test.each([
    ['present', 'ok'],
    ['empty', 'unknown'],
    ['mute', 'problem'],
    ['in-use', 'unknown'],
  ] as const)('a reader that is %s makes its card %s', async (state, verdict) => {
    const findings = await findPcscTroubles(service({ readers: [{ name: 'R', state }] }), options);
    expect(findings.map(({ id, state: found }) => [id, found])).toEqual([['pcsc-service', 'ok'], ['pcsc-reader', 'ok'], ['card-present', verdict]]);
  });
});

describe('the kind of card', () => {
  test('is asked with GetVersion alone, to its end, and the card is given back', async () => {
    const pcsc = service(PRESENT, { 1: `${LIGHT}91AF`, 2: `${LIGHT}91AF`, 3: '9100' });
    expect(await findPcscTroubles(pcsc, { ...options, askCard: true })).toContainEqual({ id: 'card-kind', state: 'ok', about: 'R', seen: 'MIFARE DESFire Light, hardware 30.0' });
    expect(pcsc.commands).toEqual(['9060000000', '90AF000000', '90AF000000']);
    expect(pcsc.closed).toBe(1);
  });

  test('is not asked unless the person wants it', async () => {
    const pcsc = service(PRESENT, { 1: `${LIGHT}91AF` });
    await findPcscTroubles(pcsc, options);
    expect(pcsc.commands).toEqual([]);
  });

  test.each([
    ['a card that knows no GetVersion', { 1: '6D00' }, 'problem', 'no DESFire: it answers GetVersion with 6D00'],
    ['an answer that is too short', { 1: '0491AF' }, 'problem', 'no DESFire: it answers GetVersion with 91AF'],
    ['a card that another program holds', {}, 'unknown', 'the card could not be asked (reader/in-use)'],
  ])('%s is told', async (_, answers, state, seen) => {
    expect(await findPcscTroubles(service(PRESENT, answers), { ...options, askCard: true })).toContainEqual({ id: 'card-kind', state, about: 'R', seen });
  });

  test.each([
    [LIGHT, 'ok', 'MIFARE DESFire Light, hardware 30.0'],
    ['04010133001605', 'problem', 'a MIFARE DESFire that is not a DESFire Light (vendor 04, type 01)'],
    ['04040230001105', 'problem', 'another chip (vendor 04, type 04)'],
    ['05080130001305', 'problem', 'another chip (vendor 05, type 08)'],
  ])('%s is %s: %s', (hardware, state, seen) => {
    expect(kindOf(parseHex(hardware))).toEqual({ state, seen });
  });
});
