/** The application server's edge for browsers and operators: one signed message in, one out, a route a round. */
import type { Router } from 'express';
import type { Signer } from '#protocol/signed.ts';
import type { Log } from '../shared/log.ts';
import { answerSigned } from '../shared/signed-answers.ts';
import type { OperatingService } from './operating.ts';
import type { ApplicationService } from './service.ts';

export function applicationRoutes(parts: { service: ApplicationService; operating: OperatingService; signer: Signer; log: Log }): (router: Router) => void {
  const { service, operating } = parts;
  const paymentId = (params: Record<string, unknown>): string => String(params['paymentId']);
  return (router) => {
    router.get('/health', (_request, response) => {
      response.status(204).end();
    });
    router.post('/v1/payments', answerSigned(parts, (jws) => service.requestPayment(jws)));
    router.post('/v1/readings', answerSigned(parts, (jws) => service.requestReading(jws)));
    router.post('/v1/links', answerSigned(parts, (jws) => service.requestLink(jws)));
    router.post('/v1/payments/:paymentId/answers', answerSigned(parts, (jws, { params }) => service.answerCard(paymentId(params), jws)));
    router.post('/v1/payments/:paymentId/completion', answerSigned(parts, (jws, { params }) => service.complete(paymentId(params), jws)));
    router.post('/v1/orders', answerSigned(parts, (jws) => operating.requestOrder(jws)));
    router.post('/v1/orders/:paymentId/answers', answerSigned(parts, (jws, { params }) => operating.answerCard(paymentId(params), jws)));
  };
}
