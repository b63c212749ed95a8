/** usb-kernel: gives the emulated readers to a real Linux kernel over USB/IP, in a guest of QEMU, and lets an unmodified Chromium there use them. */
import { Command, Option } from 'commander';
import { DEVICE_KINDS, type DeviceKind } from '#card-firmware-sim/usb/device-kinds.ts';
import { checkInKernel, type KernelStep } from '#world/usb-kernel.ts';
import { prepareMachine } from './prepare.ts';
import { EXIT, runCommand } from './run-command.ts';

interface UsbKernelOptions {
  readonly device?: DeviceKind | 'all';
  readonly accel: 'tcg' | 'kvm';
  readonly folder: string;
  readonly json?: true;
}

/** One over WebUSB, one over WebHID. */
const DEFAULT_KINDS: readonly DeviceKind[] = ['rc-s300', 'apdu-hid'];

function commandLine(): Command {
  return new Command('usb-kernel')
    .description("Boots Debian's kernel in QEMU, attaches emulated readers by its vhci-hcd, compares what it reads of them, and has an unmodified Chromium there find the card, send it commands, miss it when it is lifted, and lose and regain the reader.")
    .addOption(new Option('--device <kind>', `which reader (default: ${DEFAULT_KINDS.join(' and ')})`).choices([...DEVICE_KINDS, 'all']))
    .addOption(new Option('--accel <how>', 'tcg: emulated processors, anywhere; kvm: the real ones').choices(['tcg', 'kvm']).default('tcg'))
    .option('--folder <folder>', 'where kernel (400 MB, kept) and profile are put', 'var/usb-kernel')
    .option('--json', 'print one JSON object a step, then one with kernel, browser and counts')
    .addHelpText('after', "\nTakes about a minute, longer on a busy machine; progress goes to standard error. One run at a time in a folder. Debian on amd64 only; the kernel is unpacked, not installed.\nExit code 0: all passed; 1: something failed; 2: wrong usage or missing packages.");
}

async function run({ device, accel, folder, json }: UsbKernelOptions): Promise<number> {
  const say = (line: string): void => void process.stderr.write(`${line}\n`);
  const preparation = await prepareMachine({ needs: ['browser', 'kernel'], log: say });
  if (preparation.command !== null) {
    say(`Some packages are missing. Install them with:\n  ${preparation.command}`);
    return EXIT.usage;
  }
  const kinds = device === undefined ? DEFAULT_KINDS : device === 'all' ? DEVICE_KINDS : [device];
  const print = (line: string): void => void process.stdout.write(`${line}\n`);
  const { kernel, browser, steps } = await checkInKernel({ folder, kinds, accelerator: accel, log: say, onStep: (step) => print(json === true ? JSON.stringify(step) : describeStep(step)) });
  const failed = steps.filter((step) => !step.passed).length;
  const passed = steps.length - failed;
  print(json === true ? JSON.stringify({ kernel, browser, passed, failed }) : `\n${browser} on Linux ${kernel}: ${passed} passed, ${failed} failed`);
  return failed === 0 ? EXIT.done : EXIT.failed;
}

function describeStep({ device, step, seen, passed, ms }: KernelStep): string {
  return `  ${passed ? 'passed' : 'FAILED'}  ${device.padEnd(9)} ${step}: ${seen} (${(ms / 1000).toFixed(1)} s)`;
}

// The guest ends with this process, whoever ends it.
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => process.exit(EXIT.failed));
// A browser that was driven from here may keep a handle: everything is closed by now.
process.exit(await runCommand(commandLine(), run));
