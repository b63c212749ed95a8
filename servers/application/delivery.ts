/** Carries a notice to a shop's own server over mutual TLS, and its acknowledgement back. */
import type { Agent } from 'node:https';
import { Failure } from '#protocol/failure.ts';
import { jwsSchema, type Jws } from '#protocol/signed.ts';
import * as v from 'valibot';
import type { InformationService } from '../shared/apis/information.ts';
import { post } from '../shared/http-client.ts';

const TIMEOUT_MS = 10_000;

/** Throws `shop/unknown`, or `shop/unreachable` for anything but an acknowledgement. */
export function createNoticeDelivery({ information, agent }: { information: Pick<InformationService, 'findShop'>; agent: Agent }): (shopId: string, notice: Jws) => Promise<Jws> {
  return async (shopId, notice) => {
    const shop = await information.findShop({ shopId });
    if (shop === null) throw new Failure('shop/unknown');
    const answer = await post({
      url: `${shop.origin}/kessai/notices`,
      agent,
      contentType: 'application/jose',
      body: notice,
      timeoutMs: TIMEOUT_MS,
      maxAnswerBytes: 64 * 1024,
      unreachable: 'shop/unreachable',
      untrusted: 'shop/unreachable',
    });
    if (answer.status !== 200 || !v.is(jwsSchema, answer.text)) throw new Failure('shop/unreachable', { detail: `status ${answer.status}` });
    return answer.text;
  };
}
