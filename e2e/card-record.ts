/** What reaches the card, command by command, and what becomes of each: nobody can pass anything by the card itself. */
import type { CommandFate } from '#card-firmware-sim/vpcd.ts';
import { encodeHex } from '#protocol/bytes.ts';
import type { SimulatedCard } from '#world/simulated-card.ts';

/** INS of the native commands that move money (MF2DL(H)x0, table 22). */
export const WRITE_RECORD = 0x8b;
export const DEBIT = 0xdc;
export const COMMIT = 0xc7;

export interface CardRecord {
  /** Every command since, as hex digits. */
  commands(): readonly string[];
  /** Those of them that write or debit. */
  moneyCommands(): readonly string[];
}

/** `fate`: of the first command with this INS that is not answered; afterwards the card answers everything. */
export function recordCard(card: SimulatedCard, fate?: { readonly of: number; readonly is: CommandFate }): CardRecord {
  const seen: string[] = [];
  let pending = fate;
  card.fate = (command) => {
    seen.push(encodeHex(command));
    if (pending === undefined || command[1] !== pending.of) return 'answer';
    const { is } = pending;
    pending = undefined;
    return is;
  };
  return {
    commands: () => seen,
    moneyCommands: () => seen.filter((apdu) => [WRITE_RECORD, DEBIT, COMMIT].includes(Number.parseInt(apdu.slice(2, 4), 16))),
  };
}
