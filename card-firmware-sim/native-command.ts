/** One native command from its instruction byte to its answer: lengths, secure messaging, the command itself, the frames of the answer. */
import { COMM_MODE, MAC_BYTES, paddedLength } from './secure-messaging.ts';
import { COMMANDS } from './commands/table.ts';
import { PLAIN } from './command.ts';
import { STATUS, StatusError } from './status.ts';
import type { Answer, CardState, SecuredCommand } from './command.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from './secure-messaging.ts';

/** Data and status word together: so that the length of an answer always fits in one byte. */
const MAX_RESPONSE_BYTES = 255;
const MAX_ANSWER_DATA_BYTES = MAX_RESPONSE_BYTES - 2;

/** Throws StatusError for every refusal. */
export async function runNativeCommand(state: CardState, instruction: number, payload: Bytes): Promise<Answer> {
  const command = COMMANDS[state.memory.image.profile].get(instruction);
  if (command === undefined) throw new StatusError('ILLEGAL_COMMAND');
  return 'begin' in command ? command.begin(state, payload) : runSecured(state, command, payload);
}

async function runSecured(state: CardState, command: SecuredCommand, payload: Bytes): Promise<Answer> {
  if (state.selected === 'card' && command.anywhere !== true) throw new StatusError('PERMISSION_DENIED');
  if (payload.length < command.headerBytes) throw new StatusError('LENGTH_ERROR');
  const header = payload.slice(0, command.headerBytes);
  const rest = payload.slice(command.headerBytes);
  const { session } = state;
  const messaging = session === undefined ? PLAIN : command.messaging(state, header);
  const [min, max] = dataLengths(command, header);
  // Order of checks: length, MAC, padding; only then what is asked.
  requireLength(rest.length, wireLength(min, messaging.request), wireLength(max, messaging.request));
  const data = session === undefined ? rest : await session.openCommand(messaging.request, command.instruction, header, rest);
  requireLength(data.length, min, max);
  const reply = await command.execute(state, { instruction: command.instruction, header, data });
  const status = reply.status ?? STATUS.OPERATION_OK;
  const plain = reply.data ?? new Uint8Array();
  // A command may have ended the session that it came under (ChangeKey of its own key).
  const sealed = session !== undefined && state.session === session ? await session.sealResponse(messaging.response, status, plain) : plain;
  if (sealed.length > MAX_ANSWER_DATA_BYTES) throw new StatusError('LENGTH_ERROR');
  return inFrames(sealed, status, reply.frameBytes ?? []);
}

function dataLengths(command: SecuredCommand, header: Bytes): readonly [number, number] {
  if (command.dataBytes === undefined) return [0, 0];
  return typeof command.dataBytes === 'function' ? command.dataBytes(header) : command.dataBytes;
}

function wireLength(dataBytes: number, mode: CommMode): number {
  if (mode === COMM_MODE.PLAIN) return dataBytes;
  // Without data there is nothing to encipher, and no padding either.
  return (mode === COMM_MODE.FULL && dataBytes > 0 ? paddedLength(dataBytes) : dataBytes) + MAC_BYTES;
}

function requireLength(length: number, min: number, max: number): void {
  if (length < min || length > max) throw new StatusError('LENGTH_ERROR');
}

/** Cuts an answer into frames that the reader asks for one by one with AF. */
function inFrames(data: Bytes, status: number, [first, ...others]: readonly number[]): Answer {
  if (first === undefined) return { status, data };
  return {
    status: STATUS.ADDITIONAL_FRAME,
    data: data.slice(0, first),
    // eslint-disable-next-line @typescript-eslint/require-await -- a refusal here must be a rejection, as of every other frame
    next: async (payload) => {
      requireLength(payload.length, 0, 0);
      return inFrames(data.slice(first), status, others);
    },
  };
}
