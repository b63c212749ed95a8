/** demo: buys something in the shop's web page with the IC card, in a real browser, and shows what happened step by step. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, Option } from 'commander';
import { PROFILE_NAMES, type ProfileName } from '#card-firmware-sim/profile.ts';
import { STEPS } from '#protocol/steps.ts';
import { playPayment, type PlayedPayment } from '#world/play.ts';
import { openStage, type Stage } from '#world/stage.ts';
import { STAGE_READER_KINDS, type StageReaderKind } from '#world/stage-reader.ts';
import { prepareMachine, type Need } from './prepare.ts';
import { EXIT, runCommand } from './run-command.ts';

interface DemoOptions {
  readonly balance: boolean;
  readonly headed?: true;
  readonly reader: StageReaderKind;
  readonly card: ProfileName;
  readonly merged?: true;
  readonly folder: string;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('demo')
    .description('Plays one payment: shop page, extension, native host, PC/SC, simulated card, four servers over mutual TLS, PostgreSQL.')
    .option('--no-balance', 'the variant of paragraph 0064: the balance is not read out')
    .option('--headed', 'leave a real browser window open for you to shop in')
    .addOption(new Option('--reader <kind>', 'pcsc: pcscd with a virtual reader; sim: without PC/SC; else an emulated USB reader that the browser drives by itself').choices(STAGE_READER_KINDS).default('pcsc'))
    .addOption(new Option('--card <profile>', "the simulated card: a MIFARE DESFire Light, or a blank EV2 or EV3; each has a world of its own below the demo's folder").choices(PROFILE_NAMES).default('light'))
    .option('--merged', "the settlement's three servers in one process")
    .option('--folder <folder>', 'where the world of the demo lives', 'var')
    .option('--json', 'print one JSON object a step, then one for the outcome')
    .addHelpText('after', '\nPictures: FOLDER/demo/*.png. Exit code 0: shop, settlement and card agree that it is paid; 1: they do not; 2: wrong usage or missing packages.');
}

async function run({ balance, headed, reader, card, merged, folder: home, json }: DemoOptions): Promise<number> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const preparation = await prepareMachine({ needs: needsOf(reader), log: say });
  if (preparation.missing.length > 0) {
    say(`Some packages are missing. Install them with:\n  ${preparation.command ?? ''}`);
    return EXIT.usage;
  }
  const folder = card === 'light' ? home : join(home, card);
  const stage = await openStage({ folder, reader, card, merged: merged === true, openingBalanceMinor: 10_000n, log: say });
  try {
    if (headed === true) return await leaveToUser(stage, say);
    const pictures = join(folder, 'demo');
    await mkdir(pictures, { recursive: true });
    const played = await playPayment(stage, { readBalance: balance, pictures, log: say });
    (json === true ? printJson : printTable)(played);
    return played.agreed ? EXIT.done : EXIT.failed;
  } finally {
    await stage.close();
  }
}

function needsOf(reader: StageReaderKind): Need[] {
  if (reader === 'sim') return ['browser'];
  return reader === 'pcsc' ? ['browser', 'pcsc'] : ['browser', 'usb'];
}

async function leaveToUser(stage: Stage, say: (line: string) => void): Promise<number> {
  const browser = await stage.openBrowser({ headless: false, viewport: null });
  const page = await browser.context.newPage();
  await page.goto(stage.world.shops[0]?.origin ?? '');
  say('The shop is open and the card lies on the reader. Close the browser to end.');
  await new Promise<void>((resolve) => browser.context.once('close', () => resolve()));
  return EXIT.done;
}

function printJson({ journal, ...outcome }: PlayedPayment): void {
  for (const { step, party, ms } of journal) process.stdout.write(`${JSON.stringify({ step, party, ms: round(ms) })}\n`);
  const { kind, amountMinor, balanceBeforeMinor, balanceAfterMinor, rounds, signatures, agreed } = outcome;
  const figures = { outcome: kind, amount: Number(amountMinor), balanceBefore: Number(balanceBeforeMinor), balanceAfter: Number(balanceAfterMinor), rounds, signatures, agreed };
  process.stdout.write(`${JSON.stringify(figures)}\n`);
}

function printTable(played: PlayedPayment): void {
  const { journal, kind, amountMinor, balanceBeforeMinor, balanceAfterMinor, rounds, signatures, agreed } = played;
  const does = new Map<string, string>(STEPS.map((step) => [step.id, step.does]));
  const lines = journal.map(({ step, party, ms, failed }) => `  ${step.padEnd(5)} ${party.padEnd(12)} ${round(ms).toFixed(1).padStart(8)} ms  ${does.get(step) ?? ''}${failed === undefined ? '' : ` (failed: ${failed})`}`);
  const counts = Object.entries(signatures).map(([party, { made, verified }]) => `  ${party.padEnd(12)} ${made} made, ${verified} verified`);
  const text = [
    '',
    `  Outcome: ${kind}, JPY ${amountMinor}; the card held JPY ${balanceBeforeMinor}, holds JPY ${balanceAfterMinor}.`,
    '',
    ...lines,
    '',
    `  Network rounds between PC and application server from ST7 to ST20: ${rounds}`,
    '  Signatures (SET: 7 made in 8 messages):',
    ...counts,
    '',
    agreed ? '  Shop, settlement and card agree.' : '  SHOP, SETTLEMENT AND CARD DO NOT AGREE.',
    `  Pictures: ${played.pictures}`,
    '',
  ];
  process.stdout.write(text.join('\n'));
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}

// A browser or native library may keep a handle: everything is closed by now.
process.exit(await runCommand(commandLine(), run));
