/** The security server's wallet against the simulated chip: two implementations that share no code, issuing, loading, paying and torn. */
import { beforeEach, describe, expect, it } from 'vitest';
import { Chip } from '#card-firmware-sim/chip.ts';
import { createFactoryImage } from '#card-firmware-sim/factory-image.ts';
import { VolatileCardMemory, type CardMemory } from '#card-firmware-sim/card-memory.ts';
import type { CardImage } from '#card-firmware-sim/card-image.ts';
import { statusWord, type CardCommand } from '#protocol/apdu.ts';
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { CardDialog } from '#servers/security/issuing/card-dialog.ts';
import { deriveCardKeys, type CardKeys } from '#servers/security/issuing/card-state.ts';
import { issueCard, type IssuedCard } from '#servers/security/issuing/issue.ts';
import { openWallet, parseOpening } from '#servers/security/layout.ts';
import { CardSessions, type LiveSession } from '#servers/security/sessions.ts';
import type { TransferOrder, TransferVerdict } from '#servers/security/transfer.ts';
import { versionedKeyStore } from './card-on-reader.fixture.ts';

const UID = parseHex('04DE5F1EACC040');
const ISSUE_ID = parseHex('0102030405060708');
const keyStore = versionedKeyStore();

/** Power fails at the write: before it is done or after. */
class TearingMemory implements CardMemory {
  tear: 'before' | 'after' | undefined;
  readonly #memory: VolatileCardMemory;

  constructor(image: CardImage) {
    this.#memory = new VolatileCardMemory(image);
  }

  get image(): CardImage {
    return this.#memory.image;
  }

  async commit(next: CardImage): Promise<void> {
    if (this.tear !== 'before') await this.#memory.commit(next);
    if (this.tear !== undefined) throw new Error('power lost');
  }

  powerUp(): Promise<void> {
    return this.#memory.powerUp();
  }
}

class CardOnReader {
  readonly memory: TearingMemory;
  chip: Chip;
  #counter = 0;

  constructor() {
    this.memory = new TearingMemory(createFactoryImage({ uid: UID, random: (length) => new Uint8Array(length) }));
    this.chip = this.#powerUp();
  }

  /** As a channel does: in order, stopping after the first unexpected status, or lifted after `limit` commands. */
  async transmit(commands: readonly CardCommand[], limit = Infinity): Promise<Bytes[]> {
    const responses: Bytes[] = [];
    for (const { apdu, expectedStatus } of commands) {
      if (responses.length >= limit) break;
      const response = await this.chip.process(apdu);
      if (this.memory.tear !== undefined && statusWord(response) !== expectedStatus) break;
      responses.push(response);
      if (statusWord(response) !== expectedStatus) break;
    }
    if (limit !== Infinity && responses.length >= limit) this.lift();
    return responses;
  }

  lift(): void {
    this.memory.tear = undefined;
    this.chip = this.#powerUp();
  }

  #powerUp(): Chip {
    return new Chip({ memory: this.memory, random: (length) => new Uint8Array(length).fill(++this.#counter & 0xff) });
  }
}

let keys: CardKeys;
let sessions: CardSessions<null>;
let card: CardOnReader;

async function issue(on: CardOnReader, budget = Infinity): Promise<IssuedCard> {
  let left = budget;
  const send = async (commands: readonly CardCommand[]): Promise<Bytes[]> => {
    const responses = await on.transmit(commands, left);
    left -= responses.length;
    return responses;
  };
  const order = { uid: UID, keyStore, limitMinor: 100_000n, operationId: ISSUE_ID, timeSeconds: 1_800_000_000, isRecorded: false, random: (length: number) => new Uint8Array(length).fill(7) };
  const dialog = new CardDialog(issueCard(order, parseOpening(await send(openWallet(0)))));
  let round = await dialog.start();
  while ('turn' in round) round = await dialog.next(await send(round.turn.commands));
  return round.outcome;
}

async function authenticate(session: LiveSession<null>, keyNumber: 1 | 3): Promise<void> {
  const challenge = parseOpening(await card.transmit(openWallet(keyNumber)));
  const command = session.authenticate(challenge, { authenticationKey: keys.cardKeys[keyNumber], transactionMacKey: keys.transactionMacKey, keyVersion: keys.version });
  session.takeAuthentication(await card.transmit([command]));
}

async function read(kind: 'balance' | 'log' = 'balance') {
  const session = sessions.begin(UID, null);
  await authenticate(session, 1);
  return { session, reading: session.takeReading(await card.transmit(session.requestReading(kind))) };
}

let attempt = 0;
function order(kind: 'debit' | 'credit', amountMinor: bigint, readBalanceAfter = true): TransferOrder {
  return { kind, operationId: parseHex((++attempt).toString(16).padStart(16, '0')), amountMinor, timeSeconds: 1_800_000_100, readBalanceAfter };
}

async function load(amountMinor: bigint): Promise<TransferVerdict> {
  const { session } = await read();
  await authenticate(session, 3);
  const transfer = session.prepareTransfer(order('credit', amountMinor));
  return sessions.verifyTransfer(session.id, await card.transmit(transfer.commands));
}

beforeEach(async () => {
  keys = await deriveCardKeys(keyStore, UID);
  sessions = new CardSessions();
  card = new CardOnReader();
});

describe('the wallet on the chip', () => {
  it('is issued, loaded and paid with; balance, log, counter and transaction MAC agree', async () => {
    expect(await issue(card)).toMatchObject({ keyVersion: 1, transactionCounter: 1 });
    expect(await load(5000n)).toMatchObject({ outcome: 'committed', transactionCounter: 2, balanceAfterMinor: 5000n });
    const { session, reading } = await read();
    expect(reading).toMatchObject({ balanceMinor: 5000n, transactionCounter: 2, records: [{ amountMinor: 5000n }] });
    const payment = order('debit', 420n);
    const transfer = session.prepareTransfer(payment);
    expect(transfer.expectedTransactionCounter).toBe(3);
    const verdict = sessions.verifyTransfer(session.id, await card.transmit(transfer.commands));
    expect(verdict).toMatchObject({ outcome: 'committed', transactionCounter: 3, balanceAfterMinor: 4580n });
    const after = (await read()).reading;
    expect(after).toMatchObject({ balanceMinor: 4580n, transactionCounter: 3, records: [{ operationId: payment.operationId, amountMinor: 420n }] });
    expect('transactionMac' in verdict && encodeHex(verdict.transactionMac)).toBe(encodeHex(after.transactionMac));
  });

  it('pays without its balance being read, straight after authentication or after a log-only reading', async () => {
    await issue(card);
    await load(100n);
    const direct = sessions.begin(UID, null);
    await authenticate(direct, 1);
    const first = direct.prepareTransfer(order('debit', 1n, false));
    expect(sessions.verifyTransfer(direct.id, await card.transmit(first.commands))).toMatchObject({ outcome: 'committed', transactionCounter: 3 });
    const { session, reading } = await read('log');
    expect(reading.records[0].amountMinor).toBe(1n);
    const second = session.prepareTransfer(order('debit', 2n, false));
    expect(sessions.verifyTransfer(session.id, await card.transmit(second.commands))).toMatchObject({ outcome: 'committed', transactionCounter: 4 });
    expect((await read()).reading.balanceMinor).toBe(97n);
  });

  it('is issued although the issuing is torn after any command', async () => {
    let tears = 0;
    for (let budget = 1; ; budget++) {
      const torn = new CardOnReader();
      try {
        await issue(torn, budget);
        break;
      } catch (cause) {
        expect(cause).toBeInstanceOf(Failure);
        tears++;
      }
      torn.lift();
      expect(await issue(torn)).toMatchObject({ transactionCounter: 1 });
    }
    expect(tears).toBeGreaterThan(30);
  });

  it('keeps all or nothing of a payment that is lifted after any command', async () => {
    await issue(card);
    await load(5000n);
    for (const [sent, outcome, balanceMinor] of [[0, 'unproven', 5000n], [1, 'unproven', 5000n], [2, 'unproven', 5000n], [3, 'committed', 4990n]] as const) {
      const { session } = await read();
      const payment = order('debit', 10n);
      const transfer = session.prepareTransfer(payment);
      const answers = await card.transmit(transfer.commands, sent);
      expect(sessions.verifyTransfer(session.id, answers).outcome).toBe(outcome);
      const after = (await read()).reading;
      expect(after.balanceMinor).toBe(balanceMinor);
      expect(encodeHex(after.records[0].operationId) === encodeHex(payment.operationId)).toBe(outcome === 'committed');
    }
  });

  it.each([['before', 5000n, 2], ['after', 4990n, 3]] as const)('power lost %s the commit is written: unproven, and the next reading tells', async (tear, balanceMinor, transactionCounter) => {
    await issue(card);
    await load(5000n);
    const { session } = await read();
    const payment = order('debit', 10n);
    const transfer = session.prepareTransfer(payment);
    card.memory.tear = tear;
    const answers = await card.transmit(transfer.commands);
    card.lift();
    expect(sessions.verifyTransfer(session.id, answers)).toMatchObject({ outcome: 'unproven', reason: 'no-commit-answer' });
    const { reading } = await read();
    expect(reading).toMatchObject({ balanceMinor, transactionCounter });
    expect(encodeHex(reading.records[0].operationId) === encodeHex(payment.operationId)).toBe(tear === 'after');
  });

  it('refuses to pay what it does not hold, to load over its limit, and to load with the paying key', async () => {
    await issue(card);
    await load(5000n);
    const { session } = await read();
    const overdraft = session.prepareTransfer(order('debit', 5001n));
    expect(sessions.verifyTransfer(session.id, await card.transmit(overdraft.commands))).toMatchObject({ outcome: 'unproven' });
    expect(await load(95_001n)).toMatchObject({ outcome: 'unproven' });
    const paying = await read();
    const theft = paying.session.prepareTransfer(order('credit', 1n));
    expect(sessions.verifyTransfer(paying.session.id, await card.transmit(theft.commands))).toMatchObject({ outcome: 'unproven' });
    expect((await read()).reading).toMatchObject({ balanceMinor: 5000n, transactionCounter: 2 });
  });

  it('takes each batch once: what was sent before is refused', async () => {
    await issue(card);
    await load(5000n);
    const { session } = await read();
    const transfer = session.prepareTransfer(order('debit', 10n));
    await card.transmit(transfer.commands);
    expect((await card.transmit(transfer.commands)).map((response) => encodeHex(response))).toEqual(['911E']);
    expect((await read()).reading.balanceMinor).toBe(4990n);
  });
});
