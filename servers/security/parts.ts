/** What the security server is put together from; main.ts and the merged settlement hand it in. */
import type { Bytes } from '#protocol/bytes.ts';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import type { SignatureTally } from '#protocol/signed.ts';
import type { Journal } from '#protocol/step.ts';
import type { InformationService } from '../shared/apis/information.ts';
import type { CardKeyStore } from './key-store.ts';
import type { CardSessions } from './sessions.ts';
import type { SecurityStore } from './store.ts';

/** What a session was opened for; a debit takes its amount from the verified BILL, a credit from the verified order, never from a caller. */
export type SessionContext =
  | { readonly kind: 'payment'; readonly paymentId: string; readonly amountMinor: bigint }
  | { readonly kind: 'reading' }
  | { readonly kind: 'load'; readonly amountMinor: bigint; readonly orderDigest: string };

export interface SecurityParts {
  readonly store: SecurityStore;
  readonly keyStore: CardKeyStore;
  readonly sessions: CardSessions<SessionContext>;
  readonly information: Pick<InformationService, 'findShopByKey' | 'findCustomerByKey' | 'findCard'>;
  readonly verifier: CertificateVerifier;
  readonly journal: Journal;
  readonly tally: SignatureTally;
  /** Epoch milliseconds with fraction. */
  readonly now: () => number;
  readonly random: (length: number) => Bytes;
}
