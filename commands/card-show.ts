/** card-show: what the card on a reader holds and what the books say of it; or, with its number alone, the books. */
import type { Command } from 'commander';
import type { CardRecords } from '#protocol/messages/card-record.ts';
import { accountOf, showCard } from '#world/card-desk.ts';
import { askForCard, atDesk, deskCommand, describeAccount, parseCardId, print, type DeskCommandOptions } from './desk.ts';
import { EXIT, runCommand } from './run-command.ts';

interface ShowOptions extends DeskCommandOptions {
  readonly card?: string;
}

function commandLine(): Command {
  return deskCommand('card-show', 'Shows the issued card on the reader: balance, log, state, and what the books say of it.')
    .option('--card <number>', 'only the books, of a card that is not here', parseCardId)
    .addHelpText('after', '\nReading a card settles what is open on it. Exit code 1: failure, 2: wrong usage.');
}

async function run(options: ShowOptions): Promise<number> {
  const { card } = options;
  if (card !== undefined) {
    const account = await atDesk(options, (desk) => accountOf(desk, card));
    print({ account }, options, () => describeAccount(account));
    return EXIT.done;
  }
  const { account, balanceMinor, records, decided } = await atDesk(options, (desk) => {
    askForCard('the card');
    return showCard(desk);
  }, {}, 'Put the card back and give the command again.');
  print({ account, balanceMinor, records, decided }, options, () => [
    ...decided.map((earlier) => `Settled just now: ${earlier.kind} of ${earlier.amountMinor}, ${earlier.outcome} (${earlier.paymentId}).`),
    `The card holds ${balanceMinor} ${account.currency} (minor units).`,
    ...describeAccount(account),
    'Its log, newest first:',
    ...records.map(describeRecord),
  ]);
  return EXIT.done;
}

function describeRecord({ amountMinor, timeSeconds, operationId, known }: CardRecords[number]): string {
  const what = known === null ? 'unknown to the settlement' : `${known.kind}${known.shopName === null ? '' : ` at ${known.shopName}`}, ${known.outcome}`;
  return `  ${new Date(timeSeconds * 1000).toISOString()}  ${amountMinor.toString().padStart(10)}  ${what}  (${operationId})`;
}

process.exit(await runCommand(commandLine(), run));
