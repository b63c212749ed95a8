/** card-issue: turns a factory card on a reader into one of ours, and loads its opening balance. */
import type { Command } from 'commander';
import type { Currency } from '#protocol/amount.ts';
import { issueCard } from '#world/card-desk.ts';
import { askForCard, atDesk, describeFailure, deskCommand, parseAmount, parseCurrency, parsePositiveAmount, print, say, type DeskCommandOptions } from './desk.ts';
import { EXIT, runCommand } from './run-command.ts';

const DEFAULT_LIMIT_MINOR = 50_000n;

interface IssueOptions extends DeskCommandOptions {
  readonly balance: bigint;
  readonly currency: Currency;
  readonly limit?: bigint;
  readonly name?: string;
  readonly bearer?: true;
}

function commandLine(): Command {
  return deskCommand('card-issue', 'Issues the factory-fresh MIFARE DESFire Light, or the blank DESFire EV2 or EV3, on the reader: application, keys, rights, limit, opening balance.')
    .requiredOption('--balance <amount>', 'opening balance in minor units, for example 10000 for JPY 10,000; 0 for none', parseAmount)
    .option('--currency <code>', 'currency of the card', parseCurrency, 'JPY')
    .option('--limit <amount>', 'the most that the card may ever hold, in minor units; default: 50000', parsePositiveAmount)
    .option('--name <name>', "the new customer's name; it is kept by the information server, and in this signed order by the application server")
    .option('--bearer', 'for no customer yet: prints an activation code, with which an enrolled customer links the card')
    .addHelpText('after', '\nTorn in the middle, run it again with the card back on the reader and the same limit. Exit code 1: failure, also of the opening balance alone (the card is issued then, and its code printed); 2: wrong usage.');
}

async function run(options: IssueOptions): Promise<number> {
  const { balance, currency, limit = DEFAULT_LIMIT_MINOR, name, bearer } = options;
  if (bearer === true && name !== undefined) {
    say('error: --bearer issues for no customer, so there is no --name');
    return EXIT.usage;
  }
  if (balance > limit) {
    say(`error: the opening balance is above the card's limit of ${limit} (--limit)`);
    return EXIT.usage;
  }
  const holder = bearer === true ? ({ is: 'bearer-of-code' } as const) : ({ is: 'new-customer', name: name ?? null } as const);
  const issued = await atDesk(
    options,
    (desk) => {
      askForCard('a factory-fresh card');
      return issueCard(desk, { currency, limitMinor: limit, holder, balanceMinor: balance }, say);
    },
    {
      'card/unsupported': `No card that can be issued: not a factory-fresh one (docs/cards.md), or one whose issuing was begun with another limit than ${limit}. Then give that --limit again.`,
      'card/limit': 'No card can have this --limit.',
      'card/already-issued': 'This card is not factory-fresh. If it was issued here, npm run card-show shows it, and npm run customer-code gives another one-time code.',
    },
    'It goes on where it was: put the card back and give the same command again, with the same --limit.',
  );
  const { cardId, balanceMinor, enrolmentCode, activationCode, loadFailure } = issued;
  print({ ...issued, currency, loadFailure: loadFailure?.code ?? null }, options, () => [
    `Card ${cardId} is issued${balanceMinor === null ? '' : ` and holds ${balanceMinor} ${currency} (minor units)`}.`,
    ...(enrolmentCode === null ? [] : [`One-time enrolment code of the customer: ${enrolmentCode}`]),
    ...(activationCode === null ? [] : [`One-time activation code of the card: ${activationCode}`]),
  ]);
  if (loadFailure === null) return EXIT.done;
  say(`card-issue: The opening balance is not proved to be on the card. ${describeFailure(loadFailure)}\nnpm run card-show, with the card on the reader, settles it; then npm run card-load -- --amount ${balance}, if it holds nothing.`);
  return EXIT.failed;
}

// A reader that does not answer keeps a native call open: the process ends all the same.
process.exit(await runCommand(commandLine(), run));
