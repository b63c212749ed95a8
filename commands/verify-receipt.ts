/** verify-receipt: checks the settlement's proof of one operation: every signature and field, and the card's transaction MAC by the key store. Needs no server. */
import { readFile, stat } from 'node:fs/promises';
import { Command } from 'commander';
import * as v from 'valibot';
import { parsePem } from '#protocol/certificate-pem.ts';
import { createCertificateVerifier } from '#protocol/certificates.ts';
import { parseStrictJson } from '#protocol/json.ts';
import { receiptSchema, type Receipt } from '#protocol/messages/receipt.ts';
import { verifyReceipt } from '#servers/security/receipt.ts';
import { readDeskSettings } from '#world/desk-settings.ts';
import { keyStorePlace, misuseOfKeyStore, withKeyStoreOptions, type KeyStoreOptions } from './key-store-place.ts';
import { EXIT, runCommand } from './run-command.ts';

/** Far above any receipt: it holds a handful of signed messages. */
const MAX_RECEIPT_BYTES = 256 * 1024;

interface VerifyOptions extends KeyStoreOptions {
  readonly root?: string;
  readonly json?: true;
}

function commandLine(): Command {
  const command = new Command('verify-receipt')
    .description('Checks a receipt that npm run receipt wrote: signatures, fields, and the transaction MAC, which only the card could have made over exactly this operation.')
    .argument('<file>', 'the receipt')
    .option('--root <file>', "the root certificate of the settlement, PEM; default: the folder's");
  return withKeyStoreOptions(command).option('--json', 'print one JSON object').addHelpText('after', '\nExit code 0: every check holds; 1: one does not, or it is no receipt; 2: wrong usage.');
}

async function readReceipt(file: string): Promise<Receipt> {
  const size = await stat(file).then((there) => there.size, () => undefined);
  if (size === undefined) throw new Error(`there is no file ${file}`);
  if (size > MAX_RECEIPT_BYTES) throw new Error(`${file} is too large for a receipt`);
  const parsed = v.safeParse(receiptSchema, jsonOf(file, await readFile(file, 'utf8')));
  if (!parsed.success) throw new Error(`${file} is no receipt: ${v.getDotPath(parsed.issues[0]) ?? 'its form'} is wrong`);
  return parsed.output;
}

function jsonOf(file: string, text: string): unknown {
  try {
    return parseStrictJson(text.replace(/\n$/, ''));
  } catch (cause) {
    throw new Error(`${file} is no receipt: not the JSON that npm run receipt writes`, { cause });
  }
}

const program = commandLine();

async function run(options: VerifyOptions): Promise<number> {
  const misuse = misuseOfKeyStore(options);
  if (misuse !== undefined) {
    process.stderr.write(`error: ${misuse}\n`);
    return EXIT.usage;
  }
  const receipt = await readReceipt(program.args[0] ?? '');
  const anchors = parsePem('CERTIFICATE', await readFile(options.root ?? (await readDeskSettings(options.folder)).root, 'latin1'));
  const keyStore = await keyStorePlace(options).open(({ message }) => process.stderr.write(`Not usable: ${message}\n`));
  try {
    const checks = await verifyReceipt(receipt, { verifierAt: (at) => createCertificateVerifier({ anchors, now: () => at }), keyStore });
    const genuine = checks.every(({ ok }) => ok);
    const lines = [...checks.map(({ check, ok, why }) => `${ok ? 'holds' : 'FAILS'}  ${check}: ${why}`), genuine ? 'The receipt is genuine.' : 'THE RECEIPT DOES NOT HOLD.'];
    process.stdout.write(options.json === true ? `${JSON.stringify({ genuine, checks })}\n` : `${lines.join('\n')}\n`);
    return genuine ? EXIT.done : EXIT.failed;
  } finally {
    await keyStore.close();
  }
}

process.exitCode = await runCommand(program, run);
