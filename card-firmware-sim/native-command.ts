/** One native command from its instruction byte to its answer: lengths, secure messaging, the command itself, the frames of the answer. */
import { COMMANDS } from './commands/table.ts';
import { MAX_ANSWER_DATA_BYTES } from './apdu.ts';
import { concatBytes } from '#protocol/bytes.ts';
import { dropSession, PLAIN } from './command.ts';
import { STATUS, StatusError } from './status.ts';
import type { Answer, CardState, SecuredCommand } from './command.ts';
import type { Bytes } from '#protocol/bytes.ts';

/** What a frame of 64 bytes, the smallest of the family, carries of an answer in several. */
const FRAME_DATA_BYTES = 59;

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
  const lengths = dataLengths(command, header);
  const [min, max] = lengths;
  const onWire = (dataBytes: number): number => (session === undefined ? dataBytes : session.wireLength(messaging.request, dataBytes));
  if (command.inFrames === true && min > 0 && rest.length < onWire(min)) return moreFrames(state, command, payload, min);
  // Order of checks: length, MAC, padding; only then what is asked.
  requireLength(rest.length, onWire(min), onWire(max));
  const data = session === undefined ? rest : await session.openCommand(messaging.request, command.instruction, header, rest, lengths);
  requireLength(data.length, min, max);
  const reply = await command.execute(state, { instruction: command.instruction, header, data });
  const status = reply.status ?? STATUS.OPERATION_OK;
  const plain = reply.data ?? new Uint8Array();
  // A command may have ended the session that it came under (ChangeKey of its own key).
  const sealed = session !== undefined && state.session === session ? await session.sealResponse(messaging.response, status, plain) : plain;
  if (reply.endsSession === true) dropSession(state);
  const frameBytes = command.inFrames === true ? equalFrames(sealed.length) : (reply.frameBytes ?? []);
  if (frameBytes.length === 0 && sealed.length > MAX_ANSWER_DATA_BYTES) throw new StatusError('LENGTH_ERROR');
  return inFrames(sealed, status, frameBytes);
}

/** The rest of a command is still to come: `payload` is what there is so far. */
function moreFrames(state: CardState, command: SecuredCommand, payload: Bytes, dataBytes: number): Answer {
  // The length is the reader's word: no file is that large, so nothing is gathered for it.
  if (dataBytes > state.profile.memoryBytes) throw new StatusError('BOUNDARY_ERROR');
  const next = (more: Bytes): Promise<Answer> => {
    if (more.length === 0) return Promise.reject(new StatusError('LENGTH_ERROR'));
    return runSecured(state, command, concatBytes(payload, more));
  };
  return { status: STATUS.ADDITIONAL_FRAME, data: new Uint8Array(), next };
}

/** Lengths of the frames before the last. */
function equalFrames(bytes: number): readonly number[] {
  return Array.from({ length: Math.max(0, Math.ceil(bytes / FRAME_DATA_BYTES) - 1) }, () => FRAME_DATA_BYTES);
}

function dataLengths(command: SecuredCommand, header: Bytes): readonly [number, number] {
  if (command.dataBytes === undefined) return [0, 0];
  return typeof command.dataBytes === 'function' ? command.dataBytes(header) : command.dataBytes;
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
