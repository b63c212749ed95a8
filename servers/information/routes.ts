/** The information server's two edges: enrolment for browsers, look-ups for the settlement's other servers. */
import type { Request, Router } from 'express';
import * as v from 'valibot';
import { encodeBase64url, parseBase64url } from '#protocol/bytes.ts';
import { informationApi } from '../shared/apis/information.ts';
import { jsonBody } from '../shared/edge.ts';
import { serveApi } from '../shared/rpc.ts';
import { peerCertificate } from '../shared/tls.ts';
import type { AcceptPeer } from '../shared/tls-agent.ts';
import type { InformationServer } from './service.ts';

const enrolmentSchema = v.strictObject({
  code: v.pipe(v.string(), v.maxLength(40)),
  /** PKCS #10, DER, base64url. */
  request: v.pipe(v.string(), v.regex(/^[\w-]+$/), v.maxLength(4096)),
});

export function enrolmentRoutes(service: InformationServer): (router: Router) => void {
  return (router) => {
    router.get('/health', (_request, response) => {
      response.status(204).end();
    });
    router.post('/v1/enrolments', async (request, response) => {
      const { code, request: certificateRequest } = jsonBody(request, enrolmentSchema);
      const chain = await service.enrol(code, parseBase64url(certificateRequest));
      response.json({ chain: chain.map(encodeBase64url) });
    });
  };
}

/** What the security server needs to check for itself; everything else is the application server's. */
const FOR_SECURITY: readonly string[] = ['findShopByKey', 'findCustomerByKey', 'findCard', 'checkActivationCode'];

/** `isApplicationServer`: judges the caller's certificate. */
export function lookUpRoutes(service: InformationServer, isApplicationServer: AcceptPeer): (router: Router) => void {
  const authorise = async (request: Request, operation: string): Promise<boolean> => {
    const der = peerCertificate(request);
    return der !== undefined && (FOR_SECURITY.includes(operation) || (await isApplicationServer(der)));
  };
  return (router) => {
    router.use(serveApi(informationApi, service, { authorise }));
  };
}
