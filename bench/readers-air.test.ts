import { describe, expect, test } from 'vitest';
import { ACTIVATION, exchangesOfCommand } from '#card-firmware-sim/timing/air.ts';
import { withCrc } from '#card-firmware-sim/usb/air-frame.ts';
import { PcdIsoDep, requestAts, selectCard } from '#card-firmware-sim/usb/pcd.ts';
import { Picc } from '#card-firmware-sim/usb/picc.ts';
import { CountingField, tallyOf } from './readers-air.ts';

const FSDI_256 = 8;

/** A card whose answers are as long as the command's last two bytes say. */
function answeringCard(): Picc {
  const process = (command: Uint8Array) => Promise.resolve(new Uint8Array((command.at(-2) ?? 0) * 256 + (command.at(-1) ?? 0)));
  return new Picc({ application: { uid: new Uint8Array([4, 1, 2, 3, 4, 5, 6]), process, reset: () => Promise.resolve() } });
}

test('a frame that nobody answered counts, and costs its own length', () => {
  expect(tallyOf([{ bitsOut: 7, bitsIn: null }, { bitsOut: 7, bitsIn: 16 }])).toEqual({ framesOut: 2, framesIn: 1, bytesOut: 2, bytesIn: 2, modelledMs: 0.532 });
});

describe('counted at the field', () => {
  test.each([[7, 2], [125, 253], [126, 2], [260, 258], [5, 254]])('a command of %i bytes with an answer of %i goes through the air as the model says', async (commandBytes, answerBytes) => {
    const field = new CountingField();
    field.put(answeringCard());
    field.turnOn();
    await selectCard(field);
    const pcd = new PcdIsoDep(field, (await requestAts(field, FSDI_256, 0)) ?? withCrc(new Uint8Array()));
    const before = field.exchanges.length;
    const command = new Uint8Array(commandBytes);
    command.set([answerBytes >> 8, answerBytes & 0xff], commandBytes - 2);
    expect(await pcd.transceive(command, 5_000)).toHaveLength(answerBytes);
    expect(field.exchanges.slice(before)).toEqual(exchangesOfCommand(commandBytes, answerBytes));
  });

  test('finding a card with 7 bytes of UID: WUPA, two levels of two frames, RATS', async () => {
    const field = new CountingField();
    field.put(answeringCard());
    await selectCard(field);
    expect(field.exchanges).toEqual([]); // no carrier, no frames
    field.turnOn();
    await selectCard(field);
    await requestAts(field, FSDI_256, 0);
    expect(field.exchanges).toEqual(ACTIVATION);
    // ATQA 2, UID CLn 5, SAK 3, twice; ATS 6 and CRC. Out: 1, then 2 and 9 a level, then 4.
    expect(tallyOf(field.exchanges)).toMatchObject({ framesOut: 6, framesIn: 6, bytesOut: 27, bytesIn: 26 });
  });
});
