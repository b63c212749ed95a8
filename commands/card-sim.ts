/** card-sim: runs one simulated IC card until it is told to stop, on a virtual PC/SC reader or on an emulated USB reader; its state lives in an image file. */
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { encodeHex, equalBytes, parseHex } from '#protocol/bytes.ts';
import { Chip } from '#card-firmware-sim/chip.ts';
import { chipApplication } from '#card-firmware-sim/chip-application.ts';
import { createEmulatedReader, DEVICE_KINDS } from '#card-firmware-sim/usb/device-kinds.ts';
import { createFactoryImage, UID_BYTES } from '#card-firmware-sim/factory-image.ts';
import { FileCardMemory } from '#card-firmware-sim/file-card-memory.ts';
import { journalPayments } from '#card-firmware-sim/journal.ts';
import { keepInserted } from '#card-firmware-sim/vpcd.ts';
import { RealSpeedChip } from '#card-firmware-sim/timing/card.ts';
import { BIT_RATES } from '#card-firmware-sim/timing/air.ts';
import { secureRandom } from '#card-firmware-sim/crypto.ts';
import { PROFILE_NAMES } from '#card-firmware-sim/profile.ts';
import { startUsbIpServer } from '#card-firmware-sim/usb/usbip-server.ts';
import { EXIT, runCommand } from './run-command.ts';
import type { BitRate } from '#card-firmware-sim/timing/air.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CarriedChip, PaymentFieldTime } from '#card-firmware-sim/timing/card.ts';
import type { CardStep } from '#card-firmware-sim/journal.ts';
import type { ProfileName } from '#card-firmware-sim/profile.ts';
import type { DeviceKind } from '#card-firmware-sim/usb/device-kinds.ts';

const BUS_ID = '1-1';
/** full: as quick as this machine can. real: as quick as a card, by a model of air, chip and memory. */
const SPEEDS = ['full', 'real'] as const;
const DEFAULT_RATE: BitRate = 106;

interface Address {
  readonly host: string;
  readonly port: number;
}

interface CardSimOptions {
  readonly vpcd?: Address;
  readonly usbip?: number;
  readonly device?: DeviceKind;
  readonly host: string;
  readonly image: string;
  readonly profile?: ProfileName;
  readonly uid?: Bytes;
  readonly factory?: true;
  readonly speed: (typeof SPEEDS)[number];
  readonly rate?: BitRate;
  readonly json?: true;
}

function commandLine(): Command {
  return new Command('card-sim')
    .description('Runs one simulated MIFARE DESFire card, a Light, EV2 or EV3: on a virtual PC/SC reader (vsmartcard vpcd), or on an emulated USB reader (USB/IP).')
    .addOption(new Option('--vpcd <host:port>', 'the virtual PC/SC reader').argParser(parseAddress).conflicts(['usbip', 'device']))
    .addOption(new Option('--usbip <port>', "serve the reader of --device as a USB/IP device; 3240 is the protocol's port, 0 any free one").argParser(parsePort))
    .addOption(new Option('--device <kind>', 'the emulated reader that the card lies on').choices(DEVICE_KINDS))
    .addOption(new Option('--host <address>', 'where --usbip listens').default('127.0.0.1'))
    .requiredOption('--image <file>', 'the card: keys, files and balance')
    .option('--factory', 'create the image of a factory-fresh card if the file does not exist')
    .addOption(new Option('--profile <model>', 'model of a card that --factory creates (default light; an EV2 or EV3 is blank then); of an existing card, which it must be').choices(PROFILE_NAMES))
    .option('--uid <hex>', `UID of a card that --factory creates; of an existing card, which it must be (${UID_BYTES} bytes)`, parseUid)
    .addOption(new Option('--speed <speed>', "real: answers come when a real card's would, by a model, and each payment's card-field time is printed").choices(SPEEDS).default('full'))
    .addOption(new Option('--rate <kbit/s>', `bit rate of the modelled air: ${BIT_RATES.join(', ')} (with --speed real; default ${DEFAULT_RATE})`).argParser(parseRate))
    .option('--json', "print the card's steps as JSON, one object a line")
    .addHelpText('after', '\nOne of --vpcd and --usbip --device is needed.\nWith --json a payment\'s card-field time is an object with the one key fieldTime.\nEnds on SIGTERM or SIGINT with exit code 0. Exit code 1: failure, 2: wrong usage.');
}

function parseAddress(text: string): Address {
  const [, host = '', port = ''] = /^(?:\[(?=.*\]:))?(.+?)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host === '' || Number(port) < 1 || Number(port) > 0xffff) throw new InvalidArgumentError('It is HOST:PORT, for example 127.0.0.1:35963.');
  return { host, port: Number(port) };
}

function parsePort(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 0xffff) throw new InvalidArgumentError('It is a port number, for example 3240.');
  return Number(text);
}

function parseRate(text: string): BitRate {
  const rate = BIT_RATES.find((one) => String(one) === text);
  if (rate === undefined) throw new InvalidArgumentError(`It is one of ${BIT_RATES.join(', ')}.`);
  return rate;
}

function parseUid(text: string): Bytes {
  if (!new RegExp(`^[0-9A-Fa-f]{${2 * UID_BYTES}}$`).test(text)) throw new InvalidArgumentError(`A UID is ${2 * UID_BYTES} hex digits.`);
  return parseHex(text);
}

/** Carries the chip to a reader until the signal is aborted. */
type Road = (chip: CarriedChip, say: (line: string) => void, signal: AbortSignal) => Promise<void>;

function roadOf({ vpcd, usbip, device, host }: CardSimOptions): Road | undefined {
  if (vpcd !== undefined) return (chip, say, signal) => lieOnVirtualReader(vpcd, chip, say, signal);
  if (usbip !== undefined && device !== undefined) return (chip, say, signal) => lieOnUsbReader(device, { host, port: usbip }, chip, say, signal);
  return undefined;
}

function lieOnVirtualReader(vpcd: Address, chip: CarriedChip, say: (line: string) => void, signal: AbortSignal): Promise<void> {
  return keepInserted({
    ...vpcd,
    chip,
    signal,
    onChange: ({ state, reason }) => {
      say(describeChange(state, vpcd, reason));
    },
  });
}

async function lieOnUsbReader(kind: DeviceKind, { host, port: wanted }: Address, chip: CarriedChip, say: (line: string) => void, signal: AbortSignal): Promise<void> {
  const { device, field, card } = createEmulatedReader(kind, { card: chipApplication(chip) });
  const server = await startUsbIpServer({ host, port: wanted, devices: { [BUS_ID]: device } });
  say(`lies on an emulated ${kind}, USB/IP ${host}:${server.port}, bus id ${BUS_ID}`);
  say(`to plug it into a Linux machine:\n  sudo modprobe vhci-hcd\n  sudo usbip --tcp-port ${server.port} attach -r ${host} -b ${BUS_ID}`);
  await untilAborted(signal);
  await server.close();
  field.lift();
  await card?.idle();
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
    if (signal.aborted) resolve();
  });
}

async function runCard(road: Road, { image, profile, uid, factory, speed, rate = DEFAULT_RATE, json }: CardSimOptions, signal: AbortSignal): Promise<void> {
  let pageWrites = 0;
  const memory = await openMemory(image, { profile, uid, isFactory: factory === true }, () => pageWrites++);
  try {
    const chip = new Chip({
      memory,
      observer: (event) => {
        if (event.kind === 'fault') say(`card ${name}: the chip failed: ${String(event.error)}`);
        journal(event);
        real?.hear(event);
      },
    });
    const name = encodeHex(chip.uid);
    const journal = journalPayments(json === true ? printJson : printText);
    const onPayment = json === true ? printFieldTimeJson : printFieldTime;
    const real = speed === 'real' ? new RealSpeedChip({ chip, bitRate: rate, pageWrites: () => pageWrites, onPayment }) : undefined;
    await road(real ?? chip, (line) => say(`card ${name}: ${line}`), signal);
  } finally {
    memory.close();
  }
}

interface WantedCard {
  readonly profile: ProfileName | undefined;
  readonly uid: Bytes | undefined;
  readonly isFactory: boolean;
}

async function openMemory(path: string, { profile, uid, isFactory }: WantedCard, onWrite: () => void): Promise<FileCardMemory> {
  if (isFactory) await mkdir(dirname(path), { recursive: true });
  const memory = await FileCardMemory.open(path, isFactory ? () => createFactoryImage({ profile, uid, random: secureRandom }) : undefined, onWrite);
  const { image } = memory;
  const isOther = (uid !== undefined && !equalBytes(uid, image.uid)) || (profile !== undefined && profile !== image.profile);
  if (!isOther) return memory;
  memory.close();
  const describe = (model: ProfileName, id: Bytes): string => `${encodeHex(id)} (${model})`;
  throw new Error(`${path}: holds card ${describe(image.profile, image.uid)}, not ${describe(profile ?? image.profile, uid ?? image.uid)}`);
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

function printFieldTimeJson(time: PaymentFieldTime): void {
  process.stdout.write(`${JSON.stringify({ fieldTime: { party: 'card', ...time } })}\n`);
}

function printFieldTime({ bitRate, totalMs, airMs, activationMs, chipMs, memoryMs, commands }: PaymentFieldTime): void {
  const parts = `air ${airMs.toFixed(1)} (activation ${activationMs.toFixed(1)}), chip ${chipMs.toFixed(1)}, memory ${memoryMs.toFixed(1)}`;
  process.stdout.write(`field time card ${totalMs.toFixed(1)} ms for ${commands.length} commands at ${bitRate} kbit/s, modelled: ${parts}\n`);
}

process.exitCode = await runCommand(commandLine(), async (options: CardSimOptions) => {
  if (options.rate !== undefined && options.speed !== 'real') {
    say('error: option --rate needs --speed real');
    return EXIT.usage;
  }
  const road = roadOf(options);
  if (road === undefined) {
    say('error: one of the options --vpcd HOST:PORT and --usbip PORT --device KIND is needed');
    return EXIT.usage;
  }
  const stop = new AbortController();
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());
  await runCard(road, options, stop.signal);
  return EXIT.done;
});
