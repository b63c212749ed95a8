/** The shop on the web: its pages for people, its signed messages for the extension and the settlement. */
import type { ErrorRequestHandler, Request, RequestHandler, Response, Router } from 'express';
import * as v from 'valibot';
import { asFailure, Failure, FAILURES } from '#protocol/failure.ts';
import { orderIdSchema } from '#protocol/messages/fields.ts';
import { SHOP_STATEMENT_PATH } from '#protocol/messages/shop-statement.ts';
import type { Signer } from '#protocol/signed.ts';
import { requestId, sendJose } from '../shared/edge.ts';
import type { Log } from '../shared/log.ts';
import { answerSigned } from '../shared/signed-answers.ts';
import type { Asset } from './assets.ts';
import { renderFrontPage } from './pages/front-page.ts';
import { chooseLanguage } from './pages/language.ts';
import { pageContext, type PageContext, type PageShop } from './pages/layout.ts';
import { renderMessagePage } from './pages/message-page.ts';
import { receiptStatus, renderReceiptPage, type Receipt } from './pages/receipt-page.ts';
import type { ShopService } from './service.ts';

/** The interface program (ST5) is served as `/kessai/ic-card.js`, whatever its file is called. */
export const IC_CARD_PATH = '/kessai/ic-card.js';

/** Everything from the shop itself, nothing inline, nobody may frame: the pages of a shop that takes money. */
export const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

export interface ShopRoutesParts {
  readonly service: ShopService;
  readonly page: PageShop;
  readonly assets: ReadonlyMap<string, Asset>;
  /** The built interface program. */
  readonly icCard: Asset;
  readonly signer: Signer;
  readonly log: Log;
  readonly now: () => number;
}

/** Mount them with `createEdge({ routes, contentSecurityPolicy: PAGE_POLICY })`. */
export function addShopRoutes(router: Router, parts: ShopRoutesParts): void {
  const { service, assets, icCard, signer, log } = parts;
  router.get(SHOP_STATEMENT_PATH, async (_request, response) => sendJose(response, await service.introduce()));
  router.post('/kessai/decisions', answerSigned({ signer, log }, (jws) => service.decide(jws)));
  router.post('/kessai/bill-requests', answerSigned({ signer, log }, (jws) => service.requestBill(jws)));
  router.post('/kessai/notices', answerSigned({ signer, log }, (jws) => service.receiveNotice(jws)));
  router.get(IC_CARD_PATH, sendAsset(icCard));
  for (const [name, asset] of assets) router.get(`/assets/${name}`, sendAsset(asset));
  addPages(router, parts);
}

function addPages(router: Router, { service, page, log, now }: ShopRoutesParts): void {
  const contextOf = (request: Request): PageContext => pageContext(page, chooseLanguage(request.headers['accept-language']));
  const findReceipt = async (orderId: unknown): Promise<Receipt> => {
    const receipt = v.is(orderIdSchema, orderId) ? await service.findOrder(orderId) : undefined;
    if (receipt === undefined) throw new Failure('message/address');
    return receipt;
  };
  const statusOf = (receipt: Receipt, { language }: PageContext) => receiptStatus(receipt, page.profile.timeZone, language, now());

  router.get('/', (request, response) => {
    const context = contextOf(request);
    sendPage(response, context, 200, renderFrontPage(context));
  });
  router.get('/orders/:orderId', async (request, response) => {
    const context = contextOf(request);
    sendPage(response, context, 200, renderReceiptPage(context, await findReceipt(request.params.orderId), now()));
  });
  router.get('/orders/:orderId/status', async (request, response) => {
    response.vary('Accept-Language').json(statusOf(await findReceipt(request.params.orderId), contextOf(request)));
  });
  router.get('/{*path}', () => {
    throw new Failure('message/address');
  });
  router.use(answerWithPage(contextOf, log));
}

function sendPage(response: Response, { language }: PageContext, status: number, text: string): void {
  // Enforced where it is known: no script runs without a matching hash in its tag.
  response.status(status).set({ 'Content-Language': language, 'Integrity-Policy': 'blocked-destinations=(script)' }).vary('Accept-Language').type('html').send(text);
}

/** For a person who opened a page; everybody else gets the edge's JSON. */
function answerWithPage(contextOf: (request: Request) => PageContext, log: Log): ErrorRequestHandler {
  // Express tells an error handler by its four parameters.
  return (thrown: unknown, request, response, next) => {
    if (request.method !== 'GET' || response.headersSent || request.accepts('json', 'html') !== 'html') {
      next(thrown);
      return;
    }
    const failure = asFailure(thrown);
    const context = contextOf(request);
    const { words } = context;
    const isAbsent = failure.code === 'message/address';
    if (!isAbsent) log.error({ requestId: requestId(response), path: request.path, err: failure }, 'a page could not be shown');
    const says = isAbsent ? { title: words.notFoundTitle, text: words.notFound } : { title: words.brokenTitle, text: words.broken, code: failure.code };
    sendPage(response, context, FAILURES[failure.code].status, renderMessagePage(context, says));
  };
}

/** Kept for ever when asked for by its hash, otherwise asked about each time. */
function sendAsset({ bytes, type, etag, version }: Asset): RequestHandler {
  return (request, response) => {
    response.set({ 'Content-Type': type, ETag: etag, 'Cache-Control': request.query['v'] === version ? 'public, max-age=31536000, immutable' : 'no-cache' });
    if (request.fresh) response.status(304).end();
    else response.send(bytes);
  };
}
