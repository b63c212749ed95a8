/** A simulated card on a channel in the same process: a batch at a time, lifted on request before or after any command. */
import type { ProfileName } from '#card-firmware-sim/profile.ts';
import { Chip } from '#card-firmware-sim/chip.ts';
import { VolatileCardMemory } from '#card-firmware-sim/card-memory.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { walletApplication } from '#card-firmware-sim/card-image.ts';
import { journalPayments } from '#card-firmware-sim/journal.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import { statusWord, type CardCommand } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { platformRandom } from '#protocol/nonce.ts';
import { TransmitFailure } from '#protocol/failure.ts';
import type { Journal } from '#protocol/step.ts';

/** What happens to a command: answered; the card lifted before it arrives or after it was carried out; or refused as by another kind of card. */
export type Fate = 'answer' | 'lift-before' | 'lift-after' | 'unsupported';

/** ISO 7816-4, 5.6: file or application not found. */
const NOT_FOUND = parseHex('6A82');

export interface InProcessCard {
  /** 14 hex digits. */
  readonly cardId: string;
  /** Asked for each command, by its instruction byte. */
  fate: (instruction: number, apdu: Bytes) => Fate;
  /** Every command that reached the chip, in order. */
  readonly commands: Bytes[];
  /** The value file and the number of log records, as they stand in the chip's memory. */
  readonly balanceMinor: () => bigint;
  readonly records: () => number;
  /** What the records in the log say, newest first: 16 hex digits each. */
  readonly operationIds: () => string[];
  open(): CardChannel;
}

export function createInProcessCard(options: { uid: string; profile?: ProfileName | undefined; journal: Journal; now: () => number }): InProcessCard {
  const memory = new VolatileCardMemory(createFactoryImage({ uid: parseHex(options.uid), profile: options.profile, random: platformRandom }));
  const chip = new Chip({ memory, observer: journalPayments(options.journal), now: options.now });
  const file = (type: string) => walletApplication(memory.image)?.files.find((candidate) => candidate.type === type);
  const card: InProcessCard = {
    cardId: options.uid,
    fate: () => 'answer',
    commands: [],
    balanceMinor: () => {
      const value = file('value');
      return value?.type === 'value' ? BigInt(value.value) : 0n;
    },
    records: () => {
      const log = file('cyclic');
      return log?.type === 'cyclic' ? log.records.length : 0;
    },
    operationIds: () => {
      const log = file('cyclic');
      return log?.type === 'cyclic' ? log.records.map((record) => encodeHex(record.subarray(0, 8))) : [];
    },
    open: () => {
      let isThere = true;
      return {
        readerName: 'Simulated reader',
        transmit: (commands) => transmitAll(commands, chip, card, () => isThere, () => (isThere = false)),
        close: async () => {
          isThere = false;
          await chip.reset();
        },
      };
    },
  };
  return card;
}

async function transmitAll(commands: readonly CardCommand[], chip: Chip, card: InProcessCard, isThere: () => boolean, lift: () => void): Promise<Bytes[]> {
  const responses: Bytes[] = [];
  for (const { apdu, expectedStatus } of commands) {
    if (!isThere()) throw new TransmitFailure('card/removed', responses);
    const fate = card.fate(apdu[1] ?? 0, apdu);
    if (fate === 'lift-before') return lost(chip, lift, responses);
    card.commands.push(apdu);
    const response = fate === 'unsupported' ? NOT_FOUND : await chip.process(apdu);
    if (fate === 'lift-after') return lost(chip, lift, responses);
    responses.push(response);
    if (statusWord(response) !== expectedStatus) break;
  }
  return responses;
}

async function lost(chip: Chip, lift: () => void, responses: Bytes[]): Promise<never> {
  lift();
  await chip.reset();
  throw new TransmitFailure('card/removed', responses);
}
