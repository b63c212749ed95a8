import * as v from 'valibot';
import { beforeAll, describe, expect, it } from 'vitest';
import { typeOf, verifyAnswer } from './answer.ts';
import { Failure } from './failure.ts';
import { failureNotice } from './messages/failure-notice.ts';
import { byOneTimeKey, createOneTimeSigner, defineMessage, digestOf, signMessage, type Jws, type Signer } from './signed.ts';

const question = defineMessage('kessai-test-question', v.strictObject({ text: v.string() }));
const reply = defineMessage('kessai-test-reply', v.strictObject({ text: v.string() }));

let server: Signer;
let request: Jws;
beforeAll(async () => {
  server = await createOneTimeSigner();
  request = await signMessage(question, { text: '?' }, await createOneTimeSigner());
});

const verify = (answer: Jws) => verifyAnswer(reply, { request, answer, sender: byOneTimeKey() });
const failed = (act: Promise<unknown>) => act.then(() => Promise.reject(new Error('accepted')), (thrown: unknown) => thrown as Failure);

describe('an answer', () => {
  it('is the expected message', async () => {
    const answer = await signMessage(reply, { text: '!' }, server);
    expect((await verify(answer)).body).toEqual({ text: '!' });
    expect(typeOf(answer)).toBe('kessai-test-reply');
  });

  it('of another type is refused', async () => {
    expect(await failed(verify(await signMessage(question, { text: '!' }, server)))).toMatchObject({ code: 'message/wrong-type' });
  });

  it('that is a signed failure about this request is that failure, with its step', async () => {
    const answer = await signMessage(failureNotice, { request: await digestOf(request), code: 'bill/expired', step: 'ST9' }, server);
    expect(await failed(verify(answer))).toMatchObject({ code: 'bill/expired', step: 'ST9' });
  });

  it('that is a failure about another request says nothing about this one', async () => {
    const answer = await signMessage(failureNotice, { request: 'D'.repeat(43), code: 'bill/expired', step: null }, server);
    expect(await failed(verify(answer))).toMatchObject({ code: 'message/not-fresh' });
  });

  it('that is a failure which nobody signed is refused', async () => {
    const answer = await signMessage(failureNotice, { request: await digestOf(request), code: 'bill/expired', step: null }, server);
    const [header, , signature] = answer.split('.');
    const other = (await signMessage(failureNotice, { request: await digestOf(request), code: 'bill/already-paid', step: null }, server)).split('.')[1];
    expect(await failed(verify([header, other, signature].join('.')))).toMatchObject({ code: 'message/signature' });
  });
});
