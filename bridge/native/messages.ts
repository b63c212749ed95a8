/** What the extension and the native-messaging host say to each other: the shapes, their limits and their version, checked on both sides. */
import * as v from 'valibot';
import { MAX_BATCH_COMMANDS, MAX_COMMAND_BYTES, MAX_RESPONSE_BYTES } from '#protocol/apdu.ts';
import { FINDING_IDS } from '../doctor-findings.ts';

/** The name under which the browser finds the host. */
export const NATIVE_HOST_NAME = 'dev.kessai.host';
/** Raised with every change that an older peer would misunderstand; both sides refuse any other. */
export const NATIVE_PROTOCOL_VERSION = 1;
/** Most readers that are reported; a desk has one or two. */
export const MAX_READERS = 16;
/** Most channels that one host keeps open. */
export const MAX_CHANNELS = 4;
/** Longest time that a batch may be given. */
export const MAX_TRANSMIT_MS = 60_000;

const hexOfAtMost = (bytes: number) => v.pipe(v.string(), v.maxLength(2 * bytes), v.regex(/^(?:[0-9A-F]{2})*$/));
const RequestId = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const ChannelId = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const ReaderName = v.pipe(v.string(), v.minLength(1), v.maxLength(256));
/** ISO 7816-3: an answer to reset has at most 33 bytes; Windows keeps room for 36. */
const Atr = hexOfAtMost(36);
const Responses = v.pipe(v.array(hexOfAtMost(MAX_RESPONSE_BYTES)), v.maxLength(MAX_BATCH_COMMANDS));
const Code = v.pipe(v.string(), v.regex(/^[a-z]+\/[a-z-]+$/), v.maxLength(40));

/** `in-use`: another program holds the card. `mute`: something lies there that does not answer as a card. */
const ReaderInfo = v.strictObject({
  name: ReaderName,
  state: v.picklist(['empty', 'present', 'in-use', 'mute']),
  atr: v.optional(Atr),
});

export const ReaderList = v.strictObject({
  readers: v.pipe(v.array(ReaderInfo), v.maxLength(MAX_READERS)),
  /** Why there may be no readers at all: `reader/no-service` or `reader/failed`. */
  problem: v.optional(Code),
});
export type ReaderList = v.InferOutput<typeof ReaderList>;

export const RequestSchema = v.variant('op', [
  v.strictObject({ id: RequestId, op: v.literal('hello'), protocol: v.pipe(v.number(), v.safeInteger()) }),
  v.strictObject({ id: RequestId, op: v.literal('watch') }),
  v.strictObject({ id: RequestId, op: v.literal('connect'), reader: ReaderName }),
  v.strictObject({
    id: RequestId,
    op: v.literal('transmit'),
    channel: ChannelId,
    commands: v.pipe(
      v.array(v.strictObject({ apdu: hexOfAtMost(MAX_COMMAND_BYTES), expect: v.pipe(v.string(), v.regex(/^[0-9A-F]{4}$/)) })),
      v.minLength(1),
      v.maxLength(MAX_BATCH_COMMANDS),
    ),
    timeoutMs: v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(MAX_TRANSMIT_MS)),
  }),
  v.strictObject({ id: RequestId, op: v.literal('disconnect'), channel: ChannelId }),
  v.strictObject({ id: RequestId, op: v.literal('diagnose') }),
]);
export type Request = v.InferOutput<typeof RequestSchema>;
export type TransmitRequest = Extract<Request, { op: 'transmit' }>;

export const HelloResult = v.strictObject({
  version: v.pipe(v.string(), v.maxLength(40)),
  protocol: v.pipe(v.number(), v.safeInteger()),
  platform: v.pipe(v.string(), v.maxLength(20)),
  backends: v.pipe(v.array(v.picklist(['pcsc', 'sim'])), v.maxLength(4)),
});
export type HelloResult = v.InferOutput<typeof HelloResult>;
export const ConnectResult = v.strictObject({ channel: ChannelId, atr: Atr });
export const TransmitResult = v.strictObject({ responses: Responses });
export const DisconnectResult = v.strictObject({});

/** Most findings of one diagnosis, and the longest texts in one; whoever makes them keeps to it. */
export const FINDING_LIMITS = { findings: 64, aboutCharacters: 120, seenCharacters: 400 } as const;
/** What the host sees of service, readers and drivers; peers of one version have the same ids. */
export const DiagnoseResult = v.strictObject({
  findings: v.pipe(
    v.array(
      v.strictObject({
        id: v.picklist(FINDING_IDS),
        state: v.picklist(['ok', 'problem', 'unknown']),
        about: v.optional(v.pipe(v.string(), v.maxLength(FINDING_LIMITS.aboutCharacters))),
        seen: v.pipe(v.string(), v.maxLength(FINDING_LIMITS.seenCharacters)),
      }),
    ),
    v.maxLength(FINDING_LIMITS.findings),
  ),
});

/** From host to extension: the answer to a request, or news of the readers. */
export const HostMessage = v.union([
  v.strictObject({ id: RequestId, ok: v.unknown() }),
  v.strictObject({ id: RequestId, error: v.strictObject({ code: Code, responses: v.optional(Responses) }) }),
  v.strictObject({ event: v.literal('readers'), ...ReaderList.entries }),
]);
export type HostMessage = v.InferOutput<typeof HostMessage>;
