/** The program kessai-host. */
import { runHostCommand } from './command-line.ts';
import { thisPlatform } from './platform.ts';

const exitCode = await runHostCommand(process.argv.slice(2), thisPlatform(), { out: (text) => void process.stdout.write(text), err: (text) => void process.stderr.write(text) });
// A native call on a mute card never returns, so its end is not waited for; but Windows writes to a pipe in its own time.
process.stdout.write('', () => process.exit(exitCode));
