/** What the application server and, for itself, the security server check of an operator's order before they speak to a card or open the books. */
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { MAX_ORDER_LIFE_MS, operatorOrder } from '#protocol/messages/operator-order.ts';
import { byCertificate, verifyMessage, type BodyOf, type Jws, type SignatureTally, type VerifiedMessage } from '#protocol/signed.ts';

export type OrderKind = BodyOf<typeof operatorOrder>['kind'];
export type VerifiedOrder<Kind extends OrderKind> = VerifiedMessage<BodyOf<typeof operatorOrder> & { readonly kind: Kind }>;

interface OrderChecks {
  readonly verifier: CertificateVerifier;
  readonly tally: SignatureTally;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Throws `operator/unknown` unless an operator signed it for now and for one of these kinds of operation. */
export async function verifyOperatorOrder<Kind extends OrderKind>(kinds: readonly Kind[], jws: Jws, { verifier, tally, now }: OrderChecks): Promise<VerifiedOrder<Kind>> {
  const message = await verifyMessage(operatorOrder, jws, byCertificate(verifier, 'operator'), tally).catch((cause: unknown) => {
    throw cause instanceof Failure && cause.code === 'message/certificate' ? new Failure('operator/unknown', { cause }) : cause;
  });
  const restMs = message.body.expiresAt - now();
  if (restMs <= 0 || restMs > MAX_ORDER_LIFE_MS) throw new Failure('message/not-fresh', { detail: 'an order for another time' });
  if (!isOneOf(kinds, message)) throw new Failure('message/wrong-type', { detail: `an order to ${message.body.kind}` });
  return message;
}

function isOneOf<Kind extends OrderKind>(kinds: readonly Kind[], message: VerifiedMessage<BodyOf<typeof operatorOrder>>): message is VerifiedOrder<Kind> {
  return (kinds as readonly OrderKind[]).includes(message.body.kind);
}
