/** receipt: the settlement's own proof of one operation, as a file that verify-receipt checks. */
import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { encodeStrictJson } from '#protocol/json.ts';
import { receiptOf } from '#world/card-desk.ts';
import { atDesk, parsePaymentId, say, serverCommand, type DeskCommandOptions } from './desk.ts';
import { EXIT, runCommand } from './run-command.ts';

interface ReceiptOptions extends DeskCommandOptions {
  readonly payment: string;
  readonly out?: string;
}

function commandLine(): Command {
  return serverCommand('receipt', 'Writes the proof that the settlement keeps of a payment or load: what was signed, and the card\'s transaction MAC. It is JSON, with --json or without.')
    .requiredOption('--payment <number>', 'number of the payment or load', parsePaymentId)
    .option('--out <file>', 'where to; default: standard output. A file that is there stays as it is')
    .addHelpText('after', '\nExit code 1: failure, 2: wrong usage.');
}

async function run(options: ReceiptOptions): Promise<number> {
  const { payment, out } = options;
  const text = `${encodeStrictJson(await atDesk(options, (desk) => receiptOf(desk, payment)))}\n`;
  if (out === undefined) process.stdout.write(text);
  else {
    await writeFile(out, text, { flag: 'wx', mode: 0o600 });
    say(`receipt written to ${out}`);
  }
  return EXIT.done;
}

process.exit(await runCommand(commandLine(), run));
