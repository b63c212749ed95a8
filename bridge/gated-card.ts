/** A card behind the gate, as a payment's flow uses it: three phases, then exactly one signed debit. */
import type { CardCommand } from '#protocol/apdu.ts';
import type { Bytes } from '#protocol/bytes.ts';
import { asFailure, type Failure } from '#protocol/failure.ts';
import { createApduGate, type PaymentPhase } from './apdu-gate.ts';
import type { CardChannel } from './card-channel.ts';

export interface GatedCard {
  readonly readerName: string;
  /** Calls back once, when the card or reader is lost; at once if it is lost already. */
  onLost(callback: (failure: Failure) => void): void;
  transmit(phase: PaymentPhase, commands: readonly CardCommand[]): Promise<Bytes[]>;
  /** Exactly these commands, in one batch, once; call it only after the customer's consent. */
  debit(spc: readonly CardCommand[]): Promise<Bytes[]>;
  close(): Promise<void>;
  /** For whoever watches the reader: the card was seen to go. */
  reportLost(failure: Failure): void;
}

export function createGatedCard(channel: CardChannel, signal: AbortSignal): GatedCard {
  const gate = createApduGate(channel);
  const listeners: ((failure: Failure) => void)[] = [];
  let lost: Failure | undefined;

  const reportLost = (failure: Failure): void => {
    if (lost !== undefined) return;
    lost = failure;
    for (const tell of listeners.splice(0)) tell(failure);
  };

  const transmit = async (commands: readonly CardCommand[]): Promise<Bytes[]> => {
    try {
      return await gate.channel.transmit(commands, signal);
    } catch (thrown) {
      const failure = asFailure(thrown);
      reportLost(failure);
      throw failure;
    }
  };

  return {
    readerName: channel.readerName,
    onLost: (callback) => {
      if (lost === undefined) listeners.push(callback);
      else callback(lost);
    },
    transmit: (phase, commands) => {
      gate.enter(phase);
      return transmit(commands);
    },
    debit: (spc) => {
      gate.allowExactly(spc);
      gate.consented();
      return transmit(spc);
    },
    close: () => gate.channel.close(),
    reportLost,
  };
}
