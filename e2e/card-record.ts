/** What reaches the card, command by command, and what becomes of each: nobody can pass anything by the card itself. */
import type { CommandFate } from '#card-firmware-sim/vpcd.ts';
import { encodeHex } from '#protocol/bytes.ts';
import type { SimulatedCard } from '#world/simulated-card.ts';

/** INS of the native commands that move money (MF2DL(H)x0, table 22). */
export const WRITE_RECORD = 0x8b;
export const DEBIT = 0xdc;
export const COMMIT = 0xc7;
export const GET_VALUE = 0x6c;

export interface CardRecord {
  /** Every command since, as hex digits. */
  commands(): readonly string[];
  /** Those of them that write or debit. */
  moneyCommands(): readonly string[];
}

export interface Mishap {
  /** INS of the first command that is not answered; afterwards the card answers everything. */
  readonly of: number;
  readonly is: CommandFate;
  /** What happens in that moment besides. */
  readonly then?: () => unknown;
}

export function recordCard(card: SimulatedCard, fate?: Mishap): CardRecord {
  const seen: string[] = [];
  let pending = fate;
  card.fate = (command) => {
    seen.push(encodeHex(command));
    if (pending === undefined || command[1] !== pending.of) return 'answer';
    const { is, then } = pending;
    pending = undefined;
    then?.();
    return is;
  };
  return {
    commands: () => seen,
    moneyCommands: () => seen.filter((apdu) => [WRITE_RECORD, DEBIT, COMMIT].includes(Number.parseInt(apdu.slice(2, 4), 16))),
  };
}
