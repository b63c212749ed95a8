/**
 * Issuing: a factory card becomes one of ours, one network round a call, and a torn issuing goes on where it stopped.
 * Under the factory's zero keys the line to the card hides nothing: whoever listens learns the card's keys, so cards are issued at a trusted place.
 */
import type { CardCommand } from '#protocol/apdu.ts';
import { concatBytes, equalBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { PendingAuthentication } from './desfire/authentication.ts';
import { getValue, readRecords, readTransactionMac } from './desfire/commands.ts';
import { SW } from './desfire/instructions.ts';
import { CardRefusal } from './desfire/refusal.ts';
import { commandsOf, type CardSession } from './desfire/session.ts';
import { getValueInput, readRecordsInput } from './desfire/transaction-mac.ts';
import { configureCard, FACTORY_LIMIT_MINOR, requestCardState, verifyConfiguredCard, type CardState, type IssueKeys } from './issue-state.ts';
import { onlyAnswer, openWallet, parseOpening, WALLET, WALLET_KEYS } from './layout.ts';
import { LOG_RECORD_BYTES, parseLogRecord, type LogRecord } from './log-record.ts';
import { prepareTransfer, type Transfer } from './transfer.ts';

export interface IssueOrder {
  /** 7 bytes, as the card says outside any session; the card must say the same inside. */
  readonly uid: Bytes;
  readonly keys: IssueKeys;
  /** The most that the card may hold; 1 to 2^31 - 2. */
  readonly limitMinor: bigint;
  /** 8 bytes; the same again when a torn issuing is taken up. */
  readonly operationId: Bytes;
  readonly timeSeconds: number;
  readonly random: (length: number) => Bytes;
}

export interface IssuedCard {
  readonly uid: Bytes;
  readonly keyVersion: number;
  readonly limitMinor: bigint;
  readonly newestRecord: LogRecord;
  readonly transactionCounter: number;
}

export type IssueRound =
  | {
      readonly commands: readonly CardCommand[];
      /** On the round whose commands write the first log record. */
      readonly transfer?: Transfer;
    }
  | { readonly issued: IssuedCard };

type Continuation = (responses: readonly Bytes[]) => IssueRound;

/** `start`, then `next` with the answers to each round's commands until `issued`. After any failure every call throws `settlement/session`; start a new dialogue. */
export class IssueDialog {
  readonly #order: IssueOrder;
  #continue: Continuation | undefined;
  #started = false;

  constructor(order: IssueOrder) {
    if (order.limitMinor < 1n || order.limitMinor >= FACTORY_LIMIT_MINOR) throw new RangeError('limit of a card out of range');
    this.#order = order;
  }

  /** `challenge`: the card's 16 bytes for key 0 (the answer to `openWallet(0)`). */
  start(challenge: Bytes): IssueRound {
    if (this.#started) throw new Failure('settlement/session', { detail: 'issuing has started already' });
    this.#started = true;
    return this.#authenticateFactory(challenge);
  }

  next(responses: readonly Bytes[]): IssueRound {
    const proceed = this.#continue;
    this.#continue = undefined;
    if (proceed === undefined) throw new Failure('settlement/session', { detail: 'issuing is over' });
    return proceed(responses);
  }

  #ask(commands: readonly CardCommand[], proceed: Continuation): IssueRound {
    this.#continue = proceed;
    return { commands };
  }

  #pending(authenticationKey: Bytes, challenge: Bytes): PendingAuthentication {
    return new PendingAuthentication({ authenticationKey, challenge, hostRandom: this.#order.random(16) });
  }

  #authenticateFactory(challenge: Bytes): IssueRound {
    const pending = this.#pending(new Uint8Array(16), challenge);
    return this.#ask([pending.command], (responses) => {
      try {
        return this.#inspectFactory(pending.verify(onlyAnswer(responses)));
      } catch (cause) {
        if (!isAuthenticationRefusal(cause)) throw cause;
        // Not a factory key: perhaps an issuing of ours that was torn after its last key.
        return this.#ask(openWallet(WALLET_KEYS.master), (opening) => this.#authenticateMaster(parseOpening(opening)));
      }
    });
  }

  #inspectFactory(session: CardSession): IssueRound {
    const request = requestCardState(session);
    return this.#ask(request.commands, (responses) => {
      const state = this.#checkCard(request.parse(responses));
      const batch = configureCard(session, state, this.#order.keys, this.#order.limitMinor);
      return this.#ask([...commandsOf(batch), ...openWallet(WALLET_KEYS.master)], (answers) => {
        session.openBatch(batch, answers.slice(0, batch.length));
        session.end();
        return this.#authenticateMaster(parseOpening(answers.slice(batch.length)));
      });
    });
  }

  #authenticateMaster(challenge: Bytes): IssueRound {
    const pending = this.#pending(this.#order.keys.cardKeys[WALLET_KEYS.master], challenge);
    return this.#ask([pending.command], (responses) => {
      try {
        return this.#inspectConfigured(pending.verify(onlyAnswer(responses)));
      } catch (cause) {
        if (!isAuthenticationRefusal(cause)) throw cause;
        throw new Failure('card/already-issued', { cause, detail: 'key 0 is neither the factory\'s nor ours' });
      }
    });
  }

  #inspectConfigured(session: CardSession): IssueRound {
    const request = requestCardState(session);
    return this.#ask([...request.commands, ...openWallet(WALLET_KEYS.pay)], (responses) => {
      const state = this.#checkCard(request.parse(responses.slice(0, request.commands.length)));
      session.end();
      verifyConfiguredCard(state, this.#order.keys, this.#order.limitMinor);
      const pending = this.#pending(this.#order.keys.cardKeys[WALLET_KEYS.pay], parseOpening(responses.slice(request.commands.length)));
      return this.#ask([pending.command], (answers) => this.#readWallet(pending.verify(onlyAnswer(answers)), state.logFile.records > 0));
    });
  }

  /** An empty log cannot be read (the error would end the session), so its record is asked for only when there is one. */
  #readWallet(session: CardSession, hasRecord: boolean): IssueRound {
    const balance = session.seal(getValue(WALLET.valueFile));
    const records = hasRecord ? [session.seal(readRecords(WALLET.logFile, 0, 1, LOG_RECORD_BYTES))] : [];
    const proof = session.seal(readTransactionMac(WALLET.transactionMacFile));
    return this.#ask(commandsOf([balance, ...records, proof]), (responses) => {
      const [balanceMinor] = session.openBatch([balance], responses.slice(0, 1));
      const [record] = session.openBatch(records, responses.slice(1, 1 + records.length));
      const [{ transactionCounter }] = session.openBatch([proof], responses.slice(1 + records.length));
      // A value that was put on the card before us would be money out of nothing.
      if (balanceMinor !== 0n) throw new Failure('card/not-genuine', { detail: 'the card holds a value before its first load' });
      if (transactionCounter > 0) return this.#concludeEarlier(record, transactionCounter);
      const transactionMacInput = concatBytes(getValueInput(WALLET.valueFile, balanceMinor), record === undefined ? new Uint8Array() : readRecordsInput(WALLET.logFile, 0, 1, record));
      return this.#writeFirstRecord(session, transactionMacInput);
    });
  }

  /** Under our transaction MAC key something was committed already: our own first record, or the card is in use. */
  #concludeEarlier(record: Bytes | undefined, transactionCounter: number): IssueRound {
    const newestRecord = record === undefined ? undefined : parseLogRecord(record);
    if (newestRecord === undefined || !equalBytes(newestRecord.operationId, this.#order.operationId)) throw new Failure('card/already-issued');
    return this.#issued(newestRecord, transactionCounter);
  }

  #writeFirstRecord(session: CardSession, transactionMacInput: Bytes): IssueRound {
    const { operationId, timeSeconds, uid, keys } = this.#order;
    const firstRecord: LogRecord = { operationId, amountMinor: 0n, timeSeconds };
    const order = { ...firstRecord, kind: 'record', readBalanceAfter: false } as const;
    const transfer = prepareTransfer(session, { uid, transactionMacKey: keys.transactionMacKey }, order, { transactionMacInput, transactionCounter: 0 });
    const round = this.#ask(transfer.commands, (responses) => {
      const verdict = transfer.verify(responses);
      if (verdict.outcome === 'unproven') throw new Failure('card/unresolved', { detail: `first record ${verdict.reason}: ${verdict.detail}` });
      return this.#issued(firstRecord, verdict.transactionCounter);
    });
    return { ...round, transfer };
  }

  #issued(newestRecord: LogRecord, transactionCounter: number): IssueRound {
    const { uid, keys, limitMinor } = this.#order;
    return { issued: { uid, keyVersion: keys.version, limitMinor, newestRecord, transactionCounter } };
  }

  #checkCard(state: CardState): CardState {
    if (!equalBytes(state.uid, this.#order.uid)) throw new Failure('card/changed', { detail: 'the card has another UID inside the session' });
    return state;
  }
}

function isAuthenticationRefusal(cause: unknown): boolean {
  return cause instanceof CardRefusal && cause.statusWord === SW.AuthenticationError;
}
