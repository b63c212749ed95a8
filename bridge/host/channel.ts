/** A card channel straight from this process, for an operator's tool: the same contract as through the browser, without the browser. */
import { MAX_BATCH_COMMANDS, statusWord } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { asFailure, Failure } from '#protocol/failure.ts';
import { TransmitFailure, type CardChannel } from '../card-channel.ts';
import type { ReaderBackend } from './backend.ts';

const BATCH_LIMIT_MS = 20_000;

/** Opens the card on this reader exclusively; fails as ReaderBackend.connect does. */
export async function connectCardChannel(backend: ReaderBackend, readerName: string): Promise<CardChannel> {
  const connection = await backend.connect(readerName);
  let isOpen = true;
  return {
    readerName,
    transmit: async (commands, signal) => {
      if (commands.length > MAX_BATCH_COMMANDS) throw new Failure('internal/bug', { detail: 'a batch of too many commands' });
      const endsAt = performance.now() + BATCH_LIMIT_MS;
      const responses: Bytes[] = [];
      for (const { apdu, expectedStatus } of commands) {
        if (!isOpen || signal.aborted) throw new TransmitFailure('card/removed', responses);
        try {
          responses.push(await connection.transmit(apdu, Math.max(1, endsAt - performance.now())));
        } catch (cause) {
          isOpen = false;
          throw new TransmitFailure(asFailure(cause).code, responses, { cause });
        }
        const answer = responses.at(-1);
        if (answer === undefined || statusWord(answer) !== expectedStatus) break;
      }
      return responses;
    },
    close: async () => {
      isOpen = false;
      await connection.close();
    },
  };
}
