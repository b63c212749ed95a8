/** What every CardChannel must do, whatever carries it: each channel's tests run this suite over a card that behaves as CONTRACT_CARD says. */
import { describe, expect, test } from 'vitest';
import type { CardCommand } from '#protocol/apdu.ts';
import { concatBytes, encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { TransmitFailure, type CardChannel } from './card-channel.ts';

/** `80 INS 00 00 ...`: what the contract's card does with each instruction. */
const INS = { echo: 0xee, refuse: 0xae, mute: 0xdd, tear: 0xde } as const;

/** The card behind every rig: bytes in, answer out. `mute`: it never answers. `tear`: it leaves the reader in the middle. */
export function answerOfContractCard(apdu: Uint8Array): Bytes | 'mute' | 'tear' {
  const instruction = apdu[1];
  if (instruction === INS.mute) return 'mute';
  if (instruction === INS.tear) return 'tear';
  if (instruction === INS.refuse) return parseHex('91AE');
  if (instruction === INS.echo) return concatBytes(apdu.subarray(5, 5 + (apdu[4] ?? 0)), parseHex('9100'));
  return parseHex('9000');
}

export interface ContractRig {
  /** Open, on a card that answers as `answerOfContractCard`, with a time limit of at most 1 s a batch. */
  readonly channel: CardChannel;
  /** Command APDUs in hex, as they reached the card. */
  readonly commandsSeen: () => readonly string[];
  /** Takes the card off the reader between two commands; resolves when the reader may know. */
  readonly lift: () => Promise<void>;
  /** Opens the same card anew after `channel` was closed. */
  readonly reopen: () => Promise<CardChannel>;
  /** Pulls the reader out from one moment to the next; where it cannot be pulled, the service that keeps it dies. */
  readonly unplug?: () => Promise<void>;
  /** Plugs it in again, with the card on it; resolves to a new channel. */
  readonly replug?: () => Promise<CardChannel>;
  readonly end: () => Promise<void>;
}

/** Around every border that a reader's framing has: 62- and 63-byte reports, 64-byte packets, 7-bit lengths, blocks of 64 to 256 bytes. */
const PAYLOAD_LENGTHS = [1, 2, 16, 31, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 116, 117, 118, 119, 120, 121, 122, 123, 127, 128, 129, 191, 192, 193, 245, 246, 247, 248, 249, 250, 251, 252, 253, 254, 255];

const never = new AbortController().signal;
const echo = (hex: string): CardCommand => ({ apdu: parseHex(`80EE0000${(hex.length / 2).toString(16).padStart(2, '0')}${hex}00`), expectedStatus: 0x9100 });
const plain = (instruction: number): CardCommand => ({ apdu: Uint8Array.of(0x80, instruction, 0, 0, 0), expectedStatus: 0x9100 });
const hexOf = (responses: readonly Uint8Array[]) => responses.map((response) => encodeHex(response));

async function failureOf(transmission: Promise<unknown>): Promise<TransmitFailure> {
  const reason: unknown = await transmission.then(() => undefined, (thrown: unknown) => thrown);
  expect(reason).toBeInstanceOf(TransmitFailure);
  return reason as TransmitFailure;
}

/** Runs the suite; `open` makes a fresh rig for each test. */
export function describeCardChannel(name: string, open: () => Promise<ContractRig>): void {
  const withRig = (body: (rig: ContractRig) => Promise<void>) => async () => {
    const rig = await open();
    try {
      await body(rig);
    } finally {
      await rig.end();
    }
  };

  describe(`the contract of card channels, kept by ${name}`, () => {
    test('a batch is answered in order', withRig(async ({ channel }) => {
      expect(hexOf(await channel.transmit([echo('01'), echo('0203'), echo('FF'.repeat(200))], never))).toEqual(['019100', '02039100', `${'FF'.repeat(200)}9100`]);
      expect(channel.readerName).not.toBe('');
    }));

    test('a batch stops after the first answer that is not the expected one', withRig(async ({ channel, commandsSeen }) => {
      expect(hexOf(await channel.transmit([echo('01'), plain(INS.refuse), echo('02')], never))).toEqual(['019100', '91AE']);
      expect(commandsSeen()).toEqual([encodeHex(echo('01').apdu), encodeHex(plain(INS.refuse).apdu)]);
      // A refusal is an answer: the channel goes on.
      expect(hexOf(await channel.transmit([echo('03')], never))).toEqual(['039100']);
    }));

    test('payloads of every length that a short command holds arrive whole, both ways', withRig(async ({ channel }) => {
      for (const length of PAYLOAD_LENGTHS) {
        const payload = Array.from({ length }, (_, index) => ((index * 7 + length) & 0xff).toString(16).padStart(2, '0')).join('').toUpperCase();
        expect(hexOf(await channel.transmit([echo(payload)], never)), `${length} bytes`).toEqual([`${payload}9100`]);
      }
    }));

    test('two callers take turns: neither batch is cut by the other', withRig(async ({ channel, commandsSeen }) => {
      const [first, second] = [[echo('01'), echo('02'), echo('03')], [echo('11'), echo('12')]];
      const answers = await Promise.all([channel.transmit(first, never), channel.transmit(second, never)]);
      expect(answers.map(hexOf)).toEqual([['019100', '029100', '039100'], ['119100', '129100']]);
      expect(commandsSeen()).toEqual([...first, ...second].map(({ apdu }) => encodeHex(apdu)));
    }));

    test('an empty batch sends nothing', withRig(async ({ channel, commandsSeen }) => {
      expect(await channel.transmit([], never)).toEqual([]);
      expect(commandsSeen()).toEqual([]);
    }));

    test('a card torn away in the middle: the answers before it are handed over, and nothing is sent twice', withRig(async ({ channel, commandsSeen }) => {
      const failure = await failureOf(channel.transmit([echo('01'), plain(INS.tear), echo('02')], never));
      expect(failure.code).toBe('card/removed');
      expect(hexOf(failure.responses)).toEqual(['019100']);
      expect(commandsSeen()).toEqual([encodeHex(echo('01').apdu), encodeHex(plain(INS.tear).apdu)]);
      expect((await failureOf(channel.transmit([echo('03')], never))).code).toBe('card/removed');
    }));

    test('a card lifted between two batches is lost for this channel', withRig(async ({ channel, lift }) => {
      await channel.transmit([echo('01')], never);
      await lift();
      const failure = await failureOf(channel.transmit([echo('02')], never));
      expect(failure.code).toBe('card/removed');
      expect(failure.responses).toEqual([]);
    }));

    test('a mute card is given up in time', withRig(async ({ channel, commandsSeen }) => {
      const failure = await failureOf(channel.transmit([echo('01'), plain(INS.mute)], never));
      expect(failure.code).toBe('card/silent');
      expect(hexOf(failure.responses)).toEqual(['019100']);
      expect((await failureOf(channel.transmit([echo('02')], never))).code).toBe('card/removed');
      expect(commandsSeen()).toHaveLength(2);
    }));

    test('an aborted batch ends the channel at once', withRig(async ({ channel }) => {
      const abort = new AbortController();
      const transmission = failureOf(channel.transmit([plain(INS.mute)], abort.signal));
      abort.abort();
      expect((await transmission).code).toBe('payment/aborted');
      expect((await failureOf(channel.transmit([echo('01')], never))).code).toBe('card/removed');
    }));

    test('a signal that was given before sends nothing', withRig(async ({ channel, commandsSeen }) => {
      expect((await failureOf(channel.transmit([echo('01')], AbortSignal.abort()))).code).toBe('payment/aborted');
      expect((await failureOf(channel.transmit([echo('02')], never))).code).toBe('card/removed');
      expect(commandsSeen()).toEqual([]);
    }));

    test('closed in the middle of a batch: nothing follows the command under way', withRig(async ({ channel, commandsSeen }) => {
      const transmission = failureOf(channel.transmit([plain(INS.mute), echo('01')], never));
      await expect.poll(() => commandsSeen().length).toBe(1);
      await channel.close();
      expect((await transmission).responses).toEqual([]);
      expect(commandsSeen()).toHaveLength(1);
      expect((await failureOf(channel.transmit([echo('02')], never))).code).toBe('card/removed');
    }));

    test('a reader that is pulled out in the middle of a command: the answers before it are handed over, and it serves again when it is back', withRig(async ({ channel, commandsSeen, unplug, replug }) => {
      if (unplug === undefined || replug === undefined) return;
      const transmission = failureOf(channel.transmit([echo('01'), plain(INS.mute), echo('02')], never));
      await expect.poll(() => commandsSeen().length).toBe(2);
      await unplug();
      const failure = await transmission;
      expect(failure.code).toMatch(/^(reader\/(failed|none|no-service)|card\/removed)$/);
      expect(hexOf(failure.responses)).toEqual(['019100']);
      expect(commandsSeen()).toHaveLength(2);
      expect((await failureOf(channel.transmit([echo('03')], never))).code).toBe('card/removed');
      const next = await replug();
      expect(hexOf(await next.transmit([echo('04')], never))).toEqual(['049100']);
      await next.close();
    }));

    test('a closed channel sends nothing more, may be closed again, and leaves the card to the next', withRig(async ({ channel, commandsSeen, reopen }) => {
      await channel.close();
      await channel.close();
      expect((await failureOf(channel.transmit([echo('01')], never))).code).toBe('card/removed');
      expect(commandsSeen()).toEqual([]);
      const next = await reopen();
      expect(hexOf(await next.transmit([echo('02')], never))).toEqual(['029100']);
      await next.close();
    }));
  });
}
