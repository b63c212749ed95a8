/** card-block: blocks a card that was reported lost, for good. */
import type { Command } from 'commander';
import { blockCard } from '#world/card-desk.ts';
import type { OperatorDesk } from '#world/operator-desk.ts';
import { askForCard, atDesk, deskCommand, describeAccount, parseCardId, print, say, type DeskCommandOptions } from './desk.ts';
import { EXIT, runCommand } from './run-command.ts';

interface BlockOptions extends DeskCommandOptions {
  readonly card?: string;
}

function commandLine(): Command {
  return deskCommand('card-block', 'Blocks a card for good: it takes no payment, no load and no refund any more.')
    .option('--card <number>', 'the card, by its 14 hex digits (card-show prints it); without it, the card on the reader named by --reader', parseCardId)
    .addHelpText('after', '\nWhat it still holds by the books can be moved to another card (card-load --from-lost). Exit code 1: failure, 2: wrong usage.');
}

async function run(options: BlockOptions): Promise<number> {
  const { card, reader } = options;
  if (card === undefined && reader === undefined) {
    say('error: --card NUMBER is needed, or --reader NAME for the card that lies there');
    return EXIT.usage;
  }
  const account = await atDesk(options, async (desk) => blockCard(desk, card ?? (await numberOfCardOn(desk))));
  print({ account }, options, () => describeAccount(account));
  return EXIT.done;
}

function numberOfCardOn(desk: OperatorDesk): Promise<string> {
  askForCard('the card that is to be blocked');
  return desk.withCard(async (on) => (await on.openWallet()).cardId);
}

process.exit(await runCommand(commandLine(), run));
