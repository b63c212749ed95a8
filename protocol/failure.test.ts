import { describe, expect, it } from 'vitest';
import { asFailure, Failure, FAILURES, isFailureCode, publicFailure, TransmitFailure, type FailureCode } from './failure.ts';

const CODES = Object.keys(FAILURES) as FailureCode[];

describe('the table of failures', () => {
  it.each(CODES)('%s has a status from 400 to 599 and a text of whole sentences', (code) => {
    const { status, text } = FAILURES[code];
    expect(status).toBeGreaterThanOrEqual(400);
    expect(status).toBeLessThan(600);
    expect(text).toMatch(/^[A-Z].*\.$/);
    expect(text).not.toMatch(/undefined|null|Error|exception|\n/);
    expect(code).toMatch(/^[a-z]+\/[a-z]+(-[a-z]+)*$/);
  });

  it('tells the customer what to do, or that there is nothing to do', () => {
    const verbs = /\b(Try|try|Start|start|Tell|tell|Wait|wait|Do not|Go back|Check|Put|put|Take|Use|Close|Open|open|Connect|Install|Unplug|Update|Click|Choose|Look|Leave|Set|ask)\b/;
    // These two are read by the operator who gave the order.
    const forOperators: FailureCode[] = ['operator/unknown', 'operator/order-used'];
    for (const code of CODES) if (!forOperators.includes(code)) expect([code, verbs.test(FAILURES[code].text)]).toEqual([code, true]);
  });

  it('is closed: what is inherited or made up is no code', () => {
    for (const code of ['toString', '__proto__', 'constructor', 'bill/unheard-of', '', null, 4, {}]) expect(isFailureCode(code)).toBe(false);
    for (const code of CODES) expect(isFailureCode(code)).toBe(true);
  });
});

describe('a failure', () => {
  it('tells the world code, text and step, and nothing of its cause or detail', () => {
    const failure = new Failure('card/answer', { cause: new Error('K_SES'), detail: 'secret detail', step: 'ST13' });
    expect(failure.toPublic()).toEqual({ code: 'card/answer', text: FAILURES['card/answer'].text, step: 'ST13' });
    expect(publicFailure('card/answer')).toEqual({ code: 'card/answer', text: FAILURES['card/answer'].text });
    expect(JSON.stringify(failure.toPublic())).not.toMatch(/secret|K_SES/);
  });

  it('stays itself, and any other thrown value is a bug with its cause', () => {
    const failure = new TransmitFailure('card/removed', [new Uint8Array([0x91, 0x00])]);
    expect(asFailure(failure)).toBe(failure);
    expect(failure).toBeInstanceOf(Failure);
    for (const thrown of [new Error('x'), 'text', undefined, null, 7]) {
      const failed = asFailure(thrown);
      expect([failed.code, failed.cause]).toEqual(['internal/bug', thrown]);
    }
  });
});
