/** What the application server is put together from; main.ts and the merged settlement hand it in. */
import type { CertificateVerifier } from '#protocol/certificates.ts';
import type { RandomBytes } from '#protocol/nonce.ts';
import type { SignatureTally, Signer } from '#protocol/signed.ts';
import type { Journal } from '#protocol/step.ts';
import type { InformationService } from '../shared/apis/information.ts';
import type { SecurityService } from '../shared/apis/security.ts';
import type { ApplicationStore } from './store.ts';

export interface ApplicationParts {
  readonly store: ApplicationStore;
  readonly security: SecurityService;
  readonly information: InformationService;
  /** K_APL,S. */
  readonly signer: Signer;
  readonly verifier: CertificateVerifier;
  readonly journal: Journal;
  readonly tally: SignatureTally;
  /** Epoch milliseconds with fraction: the clock that decides. */
  readonly now: () => number;
  readonly random: RandomBytes;
  /** A new UUID. */
  readonly newId: () => string;
  /** Told after each commit that owes a shop a notice. */
  readonly onNotice: () => void;
}
