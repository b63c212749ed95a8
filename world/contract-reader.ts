/** An emulated reader with the contract's card on it: what the contract of card channels is asked of, in memory and in a browser. */
import { expect } from 'vitest';
import { answerOfContractCard, type ContractRig } from '#bridge/card-channel.contract.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderSource, ReaderState } from '#bridge/reader-source.ts';
import { createEmulatedReader, type DeviceKind, type EmulatedReader } from '#card-firmware-sim/usb/device-kinds.ts';
import { Picc } from '#card-firmware-sim/usb/picc.ts';
import type { CardApplication } from '#card-firmware-sim/usb/usb-device.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';

/** A batch's time in the contract's tests: at most a second, and longer than any reader needs to notice that a card is gone. */
const TRANSMIT_LIMIT_MS = 900;
const STATE_LIMIT_MS = 15_000;
const never = new AbortController().signal;
const LATE = { apdu: parseHex('80EE0000011A00'), expectedStatus: 0x9100 };
const NEXT = { apdu: parseHex('80EE0000014D00'), expectedStatus: 0x9100 };

export interface ContractReader {
  readonly emulated: EmulatedReader;
  /** The card that lies there, until it is lifted or tears itself away. */
  readonly card: Picc;
  /** In hex, as they reached the card. */
  readonly commands: string[];
}

export function createContractReader(kind: DeviceKind): ContractReader {
  const commands: string[] = [];
  const application: CardApplication = {
    uid: parseHex('04A1B2C3D4E5F6'),
    reset: () => Promise.resolve(),
    process: (command) => {
      commands.push(encodeHex(command));
      return Promise.resolve(answerOfContractCard(command));
    },
  };
  const emulated = createEmulatedReader(kind);
  const card = new Picc({ application });
  emulated.field.put(card);
  return { emulated, card, commands };
}

/** What the contract needs of a source whose only reader this is; `plug` and `unplug` move it on its bus. */
export async function openContractRig(reader: ContractReader, source: ReaderSource, bus: { plug(): void | Promise<void>; unplug(): void | Promise<void> }): Promise<ContractRig> {
  const open = async (): Promise<CardChannel> => {
    await untilState(source, 'present');
    return source.connect(source.readers[0]?.name ?? '', never, TRANSMIT_LIMIT_MS);
  };
  await bus.plug();
  return {
    channel: await open(),
    commandsSeen: () => reader.commands,
    lift: async () => {
      reader.emulated.field.lift();
      // A ViVOpay terminal has no word for a card that goes: it is missed by the next command.
      if (reader.emulated.kind !== 'vivotech') await untilState(source, 'empty');
    },
    reopen: open,
    unplug: async () => {
      await bus.unplug();
      await untilState(source, undefined);
    },
    replug: async () => {
      await bus.plug();
      return open();
    },
    end: () => source.close(),
  };
}

/** A batch is given up while the card works on; what comes late belongs to nobody. */
export async function expectLateAnswerUntaken({ card }: ContractReader, rig: ContractRig): Promise<void> {
  const abort = new AbortController();
  card.workMs = 400;
  const given = rig.channel.transmit([LATE], abort.signal).catch((thrown: unknown) => thrown);
  // Far from both ends of the chip's work; nothing outside tells when it has begun.
  await new Promise((resolve) => setTimeout(resolve, 100));
  abort.abort();
  expect(await given).toMatchObject({ code: 'payment/aborted', responses: [] });
  card.workMs = 0;
  const next = await rig.reopen();
  expect(await next.transmit([NEXT], never)).toEqual([parseHex('4D9100')]);
  await next.close();
}

/** Undefined: the reader is gone. */
export function untilState(source: ReaderSource, state: ReaderState | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): void => {
      if (source.readers[0]?.state !== state) return;
      clearTimeout(timer);
      stop();
      resolve();
    };
    const stop = source.onReaders(look);
    const timer = setTimeout(() => {
      stop();
      reject(new Error(`waited ${STATE_LIMIT_MS} ms for a reader that is ${state ?? 'gone'}; the readers are ${JSON.stringify(source.readers)}`));
    }, STATE_LIMIT_MS);
    look();
  });
}
