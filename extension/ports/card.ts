/** One card behind the gate, as a port of the flow. */
import type { CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { Card } from '#protocol/parties.ts';
import { createApduGate } from '#bridge/apdu-gate.ts';
import type { CardChannel } from '#bridge/card-channel.ts';
import type { ReaderSource } from '#bridge/reader-source.ts';

/** The part of a reader's source that tells of a lost card. */
type ReaderNews = Pick<ReaderSource, 'onReaders' | 'problem'>;

/** `onCommands` is told how many commands the card has carried out, after each batch. */
export function createCard(channel: CardChannel, source: ReaderNews, onCommands: (count: number) => void): Card {
  const gate = createApduGate(channel);
  // The customer's "stop" ends the flow between two steps, never a batch on its way: half a batch helps nobody.
  const { signal } = new AbortController();
  const callbacks = new Set<(failure: Failure) => void>();
  let lost: Failure | undefined;
  const stopWatching = source.onReaders((readers) => {
    const state = readers.find(({ name }) => name === channel.readerName)?.state;
    if (lost !== undefined || (source.problem === undefined && state !== undefined && state !== 'empty')) return;
    lost = source.problem ?? new Failure('card/removed');
    for (const callback of callbacks) callback(lost);
  });

  const send = async (commands: readonly CardCommand[]): Promise<Bytes[]> => {
    const responses = await gate.channel.transmit(commands, signal);
    onCommands(responses.length);
    return responses;
  };

  return {
    readerName: channel.readerName,
    onLost: (callback) => {
      callbacks.add(callback);
      if (lost !== undefined) callback(lost);
    },
    transmit: async (phase, commands) => {
      gate.enter(phase);
      return send(commands);
    },
    debit: async (spc) => {
      // The flow calls this only after the customer's consent, with the bytes of the statement that it has verified.
      gate.allowExactly(spc);
      gate.consented();
      return send(spc);
    },
    close: async () => {
      stopWatching();
      callbacks.clear();
      await gate.channel.close();
    },
  };
}
