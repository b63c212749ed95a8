/** card-issue: turns a factory card on a reader into one of ours, and loads its opening balance. */
import type { Command } from 'commander';
import type { Currency } from '#protocol/amount.ts';
import { issueCard } from '#world/card-desk.ts';
import { atDesk, deskCommand, parseAmount, parseCurrency, parsePositiveAmount, print, say, type DeskCommandOptions } from './desk.ts';
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
    .option('--name <name>', "the new customer's name; it stays in the information server")
    .option('--bearer', 'for no customer yet: prints an activation code, with which an enrolled customer links the card')
    .addHelpText('after', '\nTorn in the middle, run it again with the card back on the reader and the same limit. Exit code 1: failure, 2: wrong usage.');
}

async function run(options: IssueOptions): Promise<number> {
  const { balance, currency, limit = DEFAULT_LIMIT_MINOR, name, bearer } = options;
  if (bearer === true && name !== undefined) {
    say('error: --bearer issues for no customer, so there is no --name');
    return EXIT.usage;
  }
  const holder = bearer === true ? ({ is: 'bearer-of-code' } as const) : ({ is: 'new-customer', name: name ?? null } as const);
  const issued = await atDesk(options, (desk) => {
    say('Put a factory-fresh card on the reader.');
    return issueCard(desk, { currency, limitMinor: limit, holder, balanceMinor: balance }, say);
  });
  const { cardId, balanceMinor, enrolmentCode, activationCode } = issued;
  print({ ...issued, currency }, options, () => [
    `Card ${cardId} is issued and holds ${balanceMinor} ${currency} (minor units).`,
    ...(enrolmentCode === null ? [] : [`One-time enrolment code of the customer: ${enrolmentCode}`]),
    ...(activationCode === null ? [] : [`One-time activation code of the card: ${activationCode}`]),
  ]);
  return EXIT.done;
}

// A reader that does not answer keeps a native call open: the process ends all the same.
process.exit(await runCommand(commandLine(), run));
