/** customer-code: another one-time code, for a customer whose browser is to be enrolled or for a card that nobody has linked yet. */
import type { Command } from 'commander';
import { newActivationCode, newEnrolmentCode } from '#world/card-desk.ts';
import { atDesk, parseCardId, parseCustomerId, print, say, serverCommand, type DeskCommandOptions } from './desk.ts';
import { EXIT, runCommand } from './run-command.ts';

interface CodeOptions extends DeskCommandOptions {
  readonly customer?: string;
  readonly card?: string;
}

function commandLine(): Command {
  return serverCommand('customer-code', 'Gives another one-time code when the first was lost, too old, or used in another browser.')
    .option('--customer <number>', "of this customer (card-show prints the number): enrols a browser, in the extension's options", parseCustomerId)
    .option('--card <number>', 'of this card, which nobody has linked yet: links it, on the extension\'s page "My card"', parseCardId)
    .addHelpText('after', '\nWhoever has the code can use it: give it to the customer only. It is good for 14 days; codes given before stay good. Exit code 1: failure, 2: wrong usage.');
}

async function run(options: CodeOptions): Promise<number> {
  const { customer: customerId, card: cardId } = options;
  if (customerId !== undefined && cardId === undefined) {
    const enrolmentCode = await atDesk(options, (desk) => newEnrolmentCode(desk, customerId));
    print({ customerId, enrolmentCode }, options, () => [`One-time enrolment code of customer ${customerId}: ${enrolmentCode}`]);
    return EXIT.done;
  }
  if (cardId !== undefined && customerId === undefined) {
    const activationCode = await atDesk(options, (desk) => newActivationCode(desk, cardId));
    print({ cardId, activationCode }, options, () => [`One-time activation code of card ${cardId}: ${activationCode}`]);
    return EXIT.done;
  }
  say('error: either --customer NUMBER or --card NUMBER');
  return EXIT.usage;
}

process.exit(await runCommand(commandLine(), run));
