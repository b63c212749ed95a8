/** The frame of every command: options parsed, mistakes named, exit codes that mean something. */
import { CommanderError, type Command } from 'commander';
import { asFailure, FAILURES } from '#protocol/failure.ts';

/** `failed`: could not be done, or a check failed. `usage`: wrong options, or the machine lacks packages. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** Parses the command line and runs `act`; resolves to the exit code. `program` must not be parsed yet. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- it names what commander gives back untyped
export async function runCommand<Options extends object>(program: Command, act: (options: Options) => Promise<number>): Promise<number> {
  program.exitOverride();
  try {
    program.parse();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
  try {
    return await act(program.opts<Options>());
  } catch (error) {
    process.stderr.write(`${program.name()}: ${describeError(error)}\n`);
    return EXIT.failed;
  }
}

/** A failure by its text for people and its code; anything else by its message, never a stack. */
function describeError(error: unknown): string {
  const failure = asFailure(error);
  if (failure.code !== 'internal/bug') return `${FAILURES[failure.code].text} (${failure.message})`;
  return error instanceof Error ? error.message : String(error);
}
