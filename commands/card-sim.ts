/** card-sim: runs one simulated IC card on a virtual PC/SC reader until it is told to stop; its state lives in an image file. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { encodeHex, equalBytes, parseHex } from '#protocol/bytes.ts';
import { Chip } from '#card-firmware-sim/chip.ts';
import { createFactoryImage, UID_BYTES } from '#card-firmware-sim/factory-image.ts';
import { FileCardMemory } from '#card-firmware-sim/file-card-memory.ts';
import { journalPayments } from '#card-firmware-sim/journal.ts';
import { keepInserted } from '#card-firmware-sim/vpcd.ts';
import { secureRandom } from '#card-firmware-sim/crypto.ts';
import { EXIT, runCommand } from './run-command.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardStep } from '#card-firmware-sim/journal.ts';

interface Address {
  readonly host: string;
  readonly port: number;
}

interface CardSimOptions {
  readonly vpcd: Address;
  readonly image: string;
  readonly uid?: Bytes;
  readonly factory?: true;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('card-sim')
    .description('Runs one simulated MIFARE DESFire Light card on a virtual PC/SC reader (vsmartcard vpcd).')
    .requiredOption('--vpcd <host:port>', 'the virtual reader', parseAddress)
    .requiredOption('--image <file>', 'the card: keys, files and balance')
    .option('--factory', 'create the image of a factory-fresh card if the file does not exist')
    .option('--uid <hex>', `UID of a card that --factory creates; of an existing card, which it must be (${UID_BYTES} bytes)`, parseUid)
    .option('--json', "print the card's steps as JSON, one object a line")
    .addHelpText('after', '\nEnds on SIGTERM or SIGINT with exit code 0. Exit code 1: failure, 2: wrong usage.');
}

function parseAddress(text: string): Address {
  const [, host = '', port = ''] = /^(?:\[(?=.*\]:))?(.+?)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host === '' || Number(port) < 1 || Number(port) > 0xffff) throw new InvalidArgumentError('It is HOST:PORT, for example 127.0.0.1:35963.');
  return { host, port: Number(port) };
}

function parseUid(text: string): Bytes {
  if (!new RegExp(`^[0-9A-Fa-f]{${2 * UID_BYTES}}$`).test(text)) throw new InvalidArgumentError(`A UID is ${2 * UID_BYTES} hex digits.`);
  return parseHex(text);
}

async function runCard({ vpcd, image, uid, factory, json }: CardSimOptions, signal: AbortSignal): Promise<void> {
  const memory = await openMemory(image, uid, factory === true);
  try {
    const chip = new Chip({
      memory,
      observer: (event) => {
        if (event.kind === 'fault') say(`card ${name}: the chip failed: ${String(event.error)}`);
        journal(event);
      },
    });
    const name = encodeHex(chip.uid);
    const journal = journalPayments(json === true ? printJson : printText);
    await keepInserted({
      ...vpcd,
      chip,
      signal,
      onChange: ({ state, reason }) => {
        say(`card ${name}: ${describeChange(state, vpcd, reason)}`);
      },
    });
  } finally {
    memory.close();
  }
}

async function openMemory(path: string, uid: Bytes | undefined, factory: boolean): Promise<FileCardMemory> {
  if (factory) await mkdir(dirname(path), { recursive: true });
  const memory = await FileCardMemory.open(path, factory ? () => createFactoryImage({ uid, random: secureRandom }) : undefined);
  if (uid !== undefined && !equalBytes(uid, memory.image.uid)) {
    memory.close();
    throw new Error(`${path}: holds card ${encodeHex(memory.image.uid)}, not ${encodeHex(uid)}`);
  }
  return memory;
}

function describeChange(state: 'reader-away' | 'inserted' | 'removed', { host, port }: Address, reason: Error | undefined): string {
  const reader = `the virtual reader at ${host}:${port}`;
  switch (state) {
    case 'reader-away':
      return `waiting for ${reader} (${reason?.message ?? 'not there'})`;
    case 'inserted':
      return `lies on ${reader}`;
    case 'removed':
      return `is off ${reader}${reason === undefined ? '' : ` (${reason.message})`}`;
  }
}

/** Standard output carries the card's steps only. */
function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

function printJson(step: CardStep): void {
  process.stdout.write(`${JSON.stringify(step)}\n`);
}

function printText({ step, ms }: CardStep): void {
  process.stdout.write(`${step} card ${ms.toFixed(2)} ms\n`);
}

process.exitCode = await runCommand(commandLine(), async (options: CardSimOptions) => {
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  await runCard(options, stop.signal);
  return EXIT.done;
});
