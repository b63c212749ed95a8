/** What the application server and, for itself, the security server check of an operator's order before a session with key 0 or key 3. */
import type { CertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { MAX_ORDER_LIFE_MS, operatorOrder } from '#protocol/messages/operator-order.ts';
import { byCertificate, verifyMessage, type BodyOf, type Jws, type SignatureTally, type VerifiedMessage } from '#protocol/signed.ts';

export type OrderKind = BodyOf<typeof operatorOrder>['kind'];
export type VerifiedOrder<Kind extends OrderKind> = VerifiedMessage<BodyOf<typeof operatorOrder> & { kind: Kind }>;

interface OrderChecks {
  readonly verifier: CertificateVerifier;
  readonly tally: SignatureTally;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** Throws `operator/unknown` unless an operator signed it for now and for this kind of operation. */
export async function verifyOperatorOrder<Kind extends OrderKind>(kind: Kind, jws: Jws, { verifier, tally, now }: OrderChecks): Promise<VerifiedOrder<Kind>> {
  const message = await verifyMessage(operatorOrder, jws, byCertificate(verifier, 'operator'), tally).catch((cause: unknown) => {
    throw cause instanceof Failure && cause.code === 'message/certificate' ? new Failure('operator/unknown', { cause }) : cause;
  });
  const restMs = message.body.expiresAt - now();
  if (restMs <= 0 || restMs > MAX_ORDER_LIFE_MS) throw new Failure('message/not-fresh', { detail: 'an order for another time' });
  if (!isKind(kind, message)) throw new Failure('message/wrong-type', { detail: `an order to ${message.body.kind}` });
  return message;
}

function isKind<Kind extends OrderKind>(kind: Kind, message: VerifiedMessage<BodyOf<typeof operatorOrder>>): message is VerifiedOrder<Kind> {
  return message.body.kind === kind;
}
