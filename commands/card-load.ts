/** card-load: puts value onto the card on a reader, by an operator's order: paid in, or moved from a blocked card. */
import type { Command } from 'commander';
import type { Currency } from '#protocol/amount.ts';
import type { ReportOf } from '#protocol/operating.ts';
import { loadCard, replaceCard } from '#world/card-desk.ts';
import { askForCard, atDesk, deskCommand, parseCardId, parseCurrency, parsePaymentId, parsePositiveAmount, print, say, type DeskCommandOptions } from './desk.ts';
import { EXIT, runCommand } from './run-command.ts';

interface LoadOptions extends DeskCommandOptions {
  readonly amount: bigint;
  readonly currency: Currency;
  readonly fromLost?: string;
  readonly countNotDebited?: string[];
}

function commandLine(): Command {
  return deskCommand('card-load', 'Loads the issued card on the reader.')
    .requiredOption('--amount <amount>', 'in minor units, for example 5000 for JPY 5,000', parsePositiveAmount)
    .option('--currency <code>', 'currency of the card', parseCurrency, 'JPY')
    .option('--from-lost <card>', 'move the amount, by the books, from this blocked card instead of taking it as paid in', parseCardId)
    .option('--count-not-debited <payment>', "an unresolved payment of the lost card that you decide to count as not debited; the institution bears it if it was (repeat for several)", (text: string, all: string[] | undefined) => [...(all ?? []), parsePaymentId(text)])
    .addHelpText('after', '\nWhat was open on the card is settled first. After a failure the next contact settles this load; a new order is a new load. Exit code 1: failure, 2: wrong usage.');
}

async function run(options: LoadOptions): Promise<number> {
  const { amount: amountMinor, currency, fromLost: lostCardId, countNotDebited: countAsNotDebited = [] } = options;
  if (lostCardId === undefined && countAsNotDebited.length > 0) {
    say('error: --count-not-debited belongs to --from-lost');
    return EXIT.usage;
  }
  const report = await atDesk<ReportOf<'load'> | ReportOf<'replace'>>(
    options,
    (desk) => {
      askForCard('the card');
      return lostCardId === undefined ? loadCard(desk, { currency, amountMinor }) : replaceCard(desk, { currency, amountMinor, lostCardId, countAsNotDebited });
    },
    {},
    'Whether it was loaded is decided at the next contact: npm run card-show, with the card on the reader, says so. Only then order again, if it was not.',
  );
  const { kind, paymentId, cardId, balanceAfterMinor, decided } = report;
  print({ kind, paymentId, cardId, amountMinor, currency, balanceAfterMinor, decided, ...(lostCardId === undefined ? {} : { lostCardId }) }, options, () => [
    ...decided.map((earlier) => `Settled on the way: ${earlier.kind} of ${earlier.amountMinor}, ${earlier.outcome} (${earlier.paymentId}).`),
    `Card ${cardId}: ${amountMinor} ${currency} (minor units) ${lostCardId === undefined ? 'loaded' : `moved from the lost card ${lostCardId}`}; ${balanceAfterMinor === null ? 'its balance was not read any more' : `it holds ${balanceAfterMinor}`}.`,
    `Proof of it: npm run receipt -- --payment ${paymentId}`,
  ]);
  return EXIT.done;
}

process.exit(await runCommand(commandLine(), run));
