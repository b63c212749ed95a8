/** What the tests of payments share: pay() with its failure as a value, and parties on the way that listen, lose or change messages. */
import { asFailure, Failure } from '#protocol/failure.ts';
import type { Order } from '#protocol/messages/decision.ts';
import type { Customer, Outcome, PaymentPorts, Settlement } from '#protocol/parties.ts';
import { pay } from '#protocol/payment.ts';
import { parseHeader, signMessage, type Jws, type MessageType, type Signer } from '#protocol/signed.ts';
import { ORDER, type InProcessWorld } from './in-process.ts';

export interface Paid {
  /** What pay() resolved to, or undefined. */
  readonly outcome: Outcome | undefined;
  /** What pay() threw, or undefined. */
  readonly failure: Failure | undefined;
  /** The outcome's kind and reason, or the failure's code and step: for tables. */
  readonly said: string;
  /** What the customer was shown in the end. */
  readonly shown: readonly Outcome[];
}

export async function tryToPay(world: InProcessWorld, changes: Partial<PaymentPorts> = {}, answers: Partial<Customer> = {}, how: { order?: Order; readBalance?: boolean } = {}): Promise<Paid> {
  const ports = world.ports(changes, answers);
  try {
    const outcome = await pay(how.order ?? ORDER, ports, { readBalance: how.readBalance ?? true });
    const said = outcome.kind === 'not-paid' ? `not-paid: ${outcome.reason}` : outcome.kind === 'unknown' ? `unknown: ${outcome.failure.code}` : 'paid';
    return { outcome, failure: undefined, said, shown: ports.outcomes };
  } catch (thrown) {
    const failure = asFailure(thrown);
    if (failure.code === 'internal/bug') throw failure;
    return { outcome: undefined, failure, said: `${failure.code} at ${failure.step ?? 'no step'}`, shown: ports.outcomes };
  }
}

export type Round = 'requestPayment' | 'requestReading' | 'requestLink' | 'answerCard' | 'complete';

export interface Carried {
  readonly round: Round;
  readonly request: Jws;
  readonly paymentId: string | null;
  answer: Jws | undefined;
}

/** A settlement whose messages somebody carries: `between` gets the request and how to send it on, and gives the answer or throws. */
export function carriedSettlement(settlement: Settlement, between: (round: Carried, send: () => Promise<Jws>, nth: number) => Promise<Jws>): Settlement & { readonly carried: Carried[] } {
  const carried: Carried[] = [];
  const carry = async (round: Round, paymentId: string | null, request: Jws, send: () => Promise<Jws>): Promise<Jws> => {
    const entry: Carried = { round, request, paymentId, answer: undefined };
    const nth = carried.push(entry);
    return (entry.answer = await between(entry, send, nth));
  };
  return {
    carried,
    connect: () => settlement.connect(),
    requestPayment: (request) => carry('requestPayment', null, request, () => settlement.requestPayment(request)),
    requestReading: (request) => carry('requestReading', null, request, () => settlement.requestReading(request)),
    requestLink: (request) => carry('requestLink', null, request, () => settlement.requestLink(request)),
    answerCard: (paymentId, request) => carry('answerCard', paymentId, request, () => settlement.answerCard(paymentId, request)),
    complete: (paymentId, request) => carry('complete', paymentId, request, () => settlement.complete(paymentId, request)),
  };
}

/** Only listens. */
export function recordedSettlement(world: InProcessWorld) {
  return carriedSettlement(world.settlement(), (_round, send) => send());
}

/** Loses the nth round on its way there (the server never sees it) or on its way back (the server has carried it out). */
export function losingSettlement(world: InProcessWorld, fate: (nth: number, round: Round) => 'carried' | 'request-lost' | 'answer-lost') {
  return carriedSettlement(world.settlement(), async ({ round }, send, nth) => {
    const what = fate(nth, round);
    if (what === 'request-lost') throw new Failure('settlement/unreachable');
    const answer = await send();
    if (what === 'answer-lost') throw new Failure('settlement/unreachable');
    return answer;
  });
}

export function bodyOf(jws: Jws): Record<string, unknown> {
  return JSON.parse(Buffer.from(jws.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>;
}

/** The message with fields changed and its signature left as it was: what anyone on the way can do. */
export function tampered(jws: Jws, changes: Record<string, unknown>): Jws {
  const [header = '', , signature = ''] = jws.split('.');
  return [header, Buffer.from(JSON.stringify({ ...bodyOf(jws), ...changes })).toString('base64url'), signature].join('.');
}

/** The message with fields changed and signed again: what a hostile party can do. Fields are as on the wire. */
export async function resigned(jws: Jws, changes: Record<string, unknown>, signer: Signer): Promise<Jws> {
  const type = { typ: parseHeader(jws).typ } as MessageType;
  return signMessage(type, { ...bodyOf(jws), ...changes }, signer, { introduce: true });
}

/** Another value of the same spelling: the first character that can be changed, changed. */
export function otherwise(value: unknown): unknown {
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'boolean') return !value;
  if (typeof value !== 'string') return value;
  if (/^\d+$/.test(value)) return (BigInt(value) + 1n).toString();
  if (value === 'JPY') return 'EUR';
  if (value.startsWith('https://')) return 'https://other.localhost:8443';
  if (/^04[0-9A-F]{12}$/.test(value)) return value.endsWith('0') ? `${value.slice(0, -1)}1` : `${value.slice(0, -1)}0`;
  if (/^[0-9a-f]{8}-/.test(value)) return value.endsWith('0') ? `${value.slice(0, -1)}1` : `${value.slice(0, -1)}0`;
  return value.endsWith('a') ? `${value.slice(0, -1)}b` : `${value.slice(0, -1)}a`;
}
