/** What the security server is put together from; main.ts and the merged settlement hand it in. */
import type { Bytes } from '#protocol/bytes.ts';
import type { CertificateVerifier } from '#protocol/certificates.ts';
import type { SignatureTally } from '#protocol/signed.ts';
import type { Journal } from '#protocol/step.ts';
import type { InformationService } from '../shared/apis/information.ts';
import type { CardDialog } from './issuing/card-dialog.ts';
import type { CardKeyStore } from './key-store/key-store.ts';
import type { CardSessions } from './sessions.ts';
import type { SecurityStore } from './store.ts';

/** What a session was opened for; a debit takes its amount from the verified BILL, a credit from the verified order, never from a caller. */
export type SessionContext =
  | { readonly kind: 'payment'; readonly paymentId: string; readonly amountMinor: bigint }
  | { readonly kind: 'reading' }
  | { readonly kind: 'load'; readonly amountMinor: bigint; readonly orderDigest: string }
  /** Outcome: the card's challenge under key 1, which begins one session of this very contact; null until the re-keying is finished. */
  | { readonly kind: 'rekey'; readonly dialog: CardDialog<Bytes>; readonly renewedChallenge: () => string | null };

/** What operators may load, whoever else is taken over: in one order, and in a day. Minor units of any currency. */
export interface LoadLimits {
  readonly orderMinor: bigint;
  readonly dayMinor: bigint;
}

export interface SecurityParts {
  readonly store: SecurityStore;
  readonly keyStore: CardKeyStore;
  readonly sessions: CardSessions<SessionContext>;
  readonly information: Pick<InformationService, 'findShopByKey' | 'findCustomerByKey' | 'findCard' | 'checkActivationCode'>;
  readonly verifier: CertificateVerifier;
  readonly loadLimits: LoadLimits;
  readonly journal: Journal;
  readonly tally: SignatureTally;
  /** Epoch milliseconds with fraction. */
  readonly now: () => number;
  readonly random: (length: number) => Bytes;
}
