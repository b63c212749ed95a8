import { describe, expect, it } from 'vitest';
import { createExchanges } from './exchange.ts';

const MINUTE_MS = 60_000;

function setUp() {
  const clock = { now: 0 };
  const exchanges = createExchanges<{ paymentId: string; startedAt: number }, { previous: string }>(() => clock.now);
  const open = (paymentId: string): void => exchanges.open({ paymentId, startedAt: clock.now }, { previous: 'one' });
  return { clock, exchanges, open };
}

const awaited = (paymentId: string, previous = 'one') => ({ paymentId, previous });

describe('exchanges', () => {
  it('an exchange is taken once, by the message that was awaited', () => {
    const { exchanges, open } = setUp();
    open('a');
    expect(() => exchanges.take('a', awaited('a', 'other'))).toThrow('message/not-fresh');
    expect(exchanges.take('a', awaited('a')).awaiting.previous).toBe('one');
    expect(() => exchanges.take('a', awaited('a'))).toThrow('settlement/session');
    exchanges.await('a', { previous: 'two' });
    expect(() => exchanges.take('a', awaited('a'))).toThrow('message/not-fresh');
    expect(exchanges.take('a', awaited('a', 'two')).awaiting.previous).toBe('two');
  });

  it('what is not there, closed or too old is no exchange', () => {
    const { clock, exchanges, open } = setUp();
    open('closed');
    open('old');
    exchanges.close('closed');
    expect(() => exchanges.find('never')).toThrow('settlement/session');
    expect(() => exchanges.find('closed')).toThrow('settlement/session');
    clock.now = 11 * MINUTE_MS;
    expect(() => exchanges.find('old')).toThrow('settlement/session');
  });

  it('finished exchanges still answer, and never keep new ones out', () => {
    const { exchanges, open } = setUp();
    for (let i = 0; i < 25_000; i++) {
      open(`p${i}`);
      exchanges.finish(`p${i}`);
    }
    expect(exchanges.take('p24999', awaited('p24999')).awaiting.previous).toBe('one');
    expect(() => exchanges.find('p0')).toThrow('settlement/session');
  });

  it('too many under way are turned away, and room comes back with time', () => {
    const { clock, exchanges, open } = setUp();
    for (let i = 0; i < 10_000; i++) open(`p${i}`);
    expect(() => open('one more')).toThrow('settlement/busy');
    clock.now = 11 * MINUTE_MS;
    open('one more');
    expect(exchanges.find('one more').paymentId).toBe('one more');
  });

  it('a nonce is fresh once, for longer than a bill lives', () => {
    const { clock, exchanges } = setUp();
    expect(exchanges.isFresh('n')).toBe(true);
    clock.now = 16 * MINUTE_MS;
    expect(exchanges.isFresh('n')).toBe(false);
    clock.now = 40 * MINUTE_MS;
    expect(exchanges.isFresh('n')).toBe(true);
  });
});
