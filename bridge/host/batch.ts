/** A batch on one connection: in order, each command once, until the first answer that is not the expected one. */
import { statusWord, type CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import type { CardConnection } from './backend.ts';

/**
 * Hands each answer to `onResponse` as it comes, so that a failure does not lose those before it. `mayGoOn` is asked before each
 * command. Fails as CardConnection.transmit does, and with `card/silent` when `limitMs` is over before the batch is.
 */
export async function exchangeBatch(connection: CardConnection, commands: readonly CardCommand[], limitMs: number, onResponse: (response: Bytes) => void, mayGoOn: () => boolean = () => true): Promise<void> {
  const endsAt = performance.now() + limitMs;
  for (const { apdu, expectedStatus } of commands) {
    const leftMs = endsAt - performance.now();
    if (leftMs <= 0) throw new Failure('card/silent', { detail: 'the time of the batch is over' });
    if (!mayGoOn()) throw new Failure('card/removed', { detail: 'given back in the middle of a batch' });
    const response = await connection.transmit(apdu, leftMs);
    onResponse(response);
    if (statusWord(response) !== expectedStatus) return;
  }
}
