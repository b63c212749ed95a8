import { beforeEach, describe, expect, test } from 'vitest';
import * as v from 'valibot';
import type { Issuer } from '#protocol/certificate-issue.ts';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { Failure } from '#protocol/failure.ts';
import { oneTimeCodeSchema } from '#protocol/messages/fields.ts';
import { createMemoryInformationStore } from './memory-store.ts';
import { createInformationService, type InformationServer } from './service.ts';
import { newCard, newKey, newShop } from './store.contract.ts';
import type { ActivationCode, InformationStore } from './store.ts';

const DAY_MS = 86_400_000;
const NOWHERE = 'ZZZZ-ZZZZ-ZZZZ-ZZZZ';
let nowMs: number;
let store: InformationStore;
let service: InformationServer;
let keptCodes: ActivationCode[];

beforeEach(() => {
  [nowMs, keptCodes] = [1_763_800_000_000.75, []];
  let turn = 0;
  const memory = createMemoryInformationStore();
  store = {
    ...memory,
    addActivationCode: (code) => {
      keptCodes.push(code);
      return memory.addActivationCode(code);
    },
  };
  service = createInformationService({
    store,
    customersAuthority: {} as Issuer, // nobody enrols here
    verifier: createCertificateVerifier({ anchors: [], now: null }),
    now: () => nowMs,
    random: (length) => new Uint8Array(length).fill(++turn),
    newId: () => crypto.randomUUID(),
  });
});

const codeOf = (call: Promise<unknown>): Promise<unknown> => call.then(() => 'no failure', (thrown: unknown) => (thrown instanceof Failure ? thrown.code : thrown));
const register = async (customerId: string | null): Promise<string> => {
  const card = newCard(customerId);
  expect(await service.registerCard(card)).toBe(true);
  return card.cardId;
};
const customer = async (): Promise<string> => (await service.createCustomer({ name: null })).customerId;

describe('activation codes', () => {
  test('are one-time codes of 80 random bits, of which only the digest is kept', async () => {
    const cardId = await register(null);
    const { activationCode } = await service.newActivationCode({ cardId });
    expect(v.is(oneTimeCodeSchema, activationCode)).toBe(true);
    expect(keptCodes).toHaveLength(1);
    expect(JSON.stringify(keptCodes)).not.toContain(activationCode);
    expect((await service.newActivationCode({ cardId })).activationCode).not.toBe(activationCode);
  });

  test('link the card once; asking uses nothing up', async () => {
    const cardId = await register(null);
    const { activationCode } = await service.newActivationCode({ cardId });
    const [mine, other] = [await customer(), await customer()];
    expect(await service.checkActivationCode({ cardId, activationCode })).toBe(true);
    expect(await service.checkActivationCode({ cardId, activationCode: NOWHERE })).toBe(false);
    expect(await service.linkCard({ cardId, customerId: mine, activationCode: NOWHERE })).toBe(false);
    expect(await service.checkActivationCode({ cardId, activationCode })).toBe(true);
    expect(await service.linkCard({ cardId, customerId: mine, activationCode })).toBe(true);
    expect(await service.linkCard({ cardId, customerId: mine, activationCode })).toBe(true);
    expect(await service.linkCard({ cardId, customerId: other, activationCode })).toBe(false);
    expect(await service.checkActivationCode({ cardId, activationCode })).toBe(false);
    expect((await service.findCard({ cardId }))?.customerId).toBe(mine);
  });

  test('live for 14 days', async () => {
    const cardId = await register(null);
    const { activationCode } = await service.newActivationCode({ cardId });
    nowMs += 14 * DAY_MS - 1;
    expect(await service.checkActivationCode({ cardId, activationCode })).toBe(true);
    nowMs += 1;
    expect(await service.checkActivationCode({ cardId, activationCode })).toBe(false);
    expect(await service.linkCard({ cardId, customerId: await customer(), activationCode })).toBe(false);
  });

  test('are not made for a card that was not issued, or that has a customer', async () => {
    expect(await codeOf(service.newActivationCode({ cardId: newCard(null).cardId }))).toBe('card/not-issued');
    expect(await codeOf(service.newActivationCode({ cardId: await register(await customer()) }))).toBe('customer/card-not-linked');
  });
});

test('a card that is reported lost stays so, from the first report on; one that was not issued is not', async () => {
  const card = newCard(await customer());
  await service.registerCard(card);
  expect(await service.findCard(card)).toEqual({ ...card, blockedAt: null });
  expect(await service.blockCard({ cardId: card.cardId, blockedAt: 5 })).toBeNull();
  expect(await service.blockCard({ cardId: card.cardId, blockedAt: 6 })).toBeNull();
  expect(await service.findCard(card)).toEqual({ ...card, blockedAt: 5 });
  expect(await codeOf(service.blockCard({ cardId: newCard(null).cardId, blockedAt: 5 }))).toBe('card/not-issued');
  expect(await service.findCard(newCard(null))).toBeNull();
});

test('a shop is found with its legal name', async () => {
  const shop = newShop();
  await store.registerShop(shop, newKey());
  expect(await service.findShop(shop)).toEqual(shop);
  expect(await service.findShop({ shopId: 'nobody' })).toBeNull();
});
