/** The security server's edge: its service by typed calls; TLS has let in nobody but the application server. */
import type { Router } from 'express';
import { securityApi, type SecurityService } from '../shared/apis/security.ts';
import { serveApi } from '../shared/rpc.ts';

export function securityRoutes(service: SecurityService): (router: Router) => void {
  return (router) => {
    router.use(serveApi(securityApi, service, { authorise: () => true }));
  };
}
