/** What the chip tells an observer about itself; a real card tells nothing, so nothing may depend on these. */

export type ChipEvent =
  /** One commit made these changes permanent, together. Times: epoch milliseconds with fraction. */
  | { readonly kind: 'committed'; readonly debit: boolean; readonly credit: boolean; readonly record: boolean; readonly receivedAt: number; readonly at: number }
  /** The answer to the last command is on its way out of the chip. */
  | { readonly kind: 'answered'; readonly at: number }
  /** The chip gave up a command for a reason that is not the sender's: its memory failed, or this program has a bug. */
  | { readonly kind: 'fault'; readonly error: unknown };
