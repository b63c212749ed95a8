/** A signed answer to a signed request: the expected message, or a signed failure about exactly this request. */
import { Failure } from './failure.ts';
import { failureNotice } from './messages/failure-notice.ts';
import { digestOf, parseHeader, verifyMessage, type BodyOf, type Jws, type MessageType, type SenderCheck, type SignatureTally, type VerifiedMessage } from './signed.ts';

/**
 * Verifies `answer` as the message of this type. A failure notice that is signed by the same sender about this request is
 * thrown as the Failure it names; a failure about another request is `message/not-fresh`.
 */
export async function verifyAnswer<Type extends MessageType>(
  type: Type,
  exchange: { readonly request: Jws; readonly answer: Jws; readonly sender: SenderCheck; readonly tally?: SignatureTally | undefined },
): Promise<VerifiedMessage<BodyOf<Type>>> {
  const { request, answer, sender, tally } = exchange;
  if (parseHeader(answer).typ !== failureNotice.typ) return verifyMessage(type, answer, sender, tally);
  const { body } = await verifyMessage(failureNotice, answer, sender, tally);
  if (body.request !== (await digestOf(request))) throw new Failure('message/not-fresh', { detail: 'a failure about another request' });
  throw new Failure(body.code, { step: body.step ?? undefined });
}

/** Type of a message that is not verified yet, to choose how to verify it. */
export function typeOf(jws: Jws): string {
  return parseHeader(jws).typ;
}
