/** The deployment of this very build. */
import { parseBase64url, type Bytes } from '#protocol/bytes.ts';
import { parseDeployment } from './deployment.ts';

/** Put in place by the build (vite.config.ts). */
declare const KESSAI_DEPLOYMENT: unknown;

export const DEPLOYMENT = parseDeployment(KESSAI_DEPLOYMENT);

/** Root certificates, DER. */
export const TRUST_ANCHORS: readonly Bytes[] = DEPLOYMENT.trustAnchors.map((anchor) => parseBase64url(anchor.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')));
