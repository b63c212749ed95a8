/** The PC/SC service, its readers and the card on them, as the native host itself reaches them. */
import { encodeHex, type Bytes } from '#protocol/bytes.ts';
import type { Finding } from '#bridge/doctor-findings.ts';
import type { ReaderList } from '#bridge/native/messages.ts';
import type { KnownReader } from '#bridge/reader-registry.ts';
import { asFailure } from '#protocol/failure.ts';
import type { CardConnection, ReaderBackend } from '../backend.ts';
import { within } from '../within.ts';

const FIRST_LIST_LIMIT_MS = 4_000;
const COMMAND_LIMIT_MS = 2_000;
/** GetVersion and its two continuations (DESFire native commands in ISO 7816-4 frames). */
const GET_VERSION = Uint8Array.of(0x90, 0x60, 0, 0, 0);
const NEXT_FRAME = Uint8Array.of(0x90, 0xaf, 0, 0, 0);

export interface PcscOptions {
  /** On USB, so that one which the service does not list is noticed. */
  readonly usbReaders: readonly KnownReader[];
  /** Asks the card for its kind, on an exclusive connection for a moment. */
  readonly askCard: boolean;
}

/** Never throws; leaves the backend open. */
export async function findPcscTroubles(backend: ReaderBackend, { usbReaders, askCard }: PcscOptions): Promise<Finding[]> {
  if (backend.name === 'sim') return [{ id: 'pcsc-service', state: 'unknown', seen: 'this installation serves a simulated reader and no PC/SC' }];
  const first = await firstList(backend);
  if (first === undefined) return [{ id: 'pcsc-service', state: 'problem', seen: `no answer within ${FIRST_LIST_LIMIT_MS / 1000} s` }];
  if (first.problem !== undefined) return [{ id: 'pcsc-service', state: 'problem', seen: `it does not answer (${first.problem})` }];
  const findings: Finding[] = [{ id: 'pcsc-service', state: 'ok', seen: 'it answers' }];
  if (first.readers.length === 0) findings.push(noReader(usbReaders));
  for (const reader of first.readers) {
    findings.push({ id: 'pcsc-reader', state: 'ok', about: reader.name, seen: 'listed by the service' }, cardOn(reader));
    if (askCard && reader.state === 'present') findings.push(await kindOfCard(backend, reader.name));
  }
  return findings;
}

async function firstList(backend: ReaderBackend): Promise<ReaderList | undefined> {
  let watch: { stop(): void } | undefined;
  const first = new Promise<ReaderList>((resolve) => {
    watch = backend.watch(resolve);
  });
  const outcome = await within(FIRST_LIST_LIMIT_MS, first);
  watch?.stop();
  return outcome.late ? undefined : outcome.value;
}

function noReader(usbReaders: readonly KnownReader[]): Finding {
  const unseen = usbReaders.filter(({ road }) => road === 'native').map(({ title }) => title);
  if (unseen.length === 0) return { id: 'pcsc-reader', state: 'unknown', seen: 'the service lists no reader' };
  return { id: 'pcsc-reader', state: 'problem', seen: `on USB but not listed by the service: ${unseen.join('; ')}` };
}

function cardOn({ name, state, atr }: ReaderList['readers'][number]): Finding {
  switch (state) {
    case 'present':
      return { id: 'card-present', state: 'ok', about: name, seen: `answer to reset ${atr ?? 'unknown'}` };
    case 'empty':
      return { id: 'card-present', state: 'unknown', about: name, seen: 'no card lies there' };
    case 'mute':
      return { id: 'card-present', state: 'problem', about: name, seen: 'something lies there that does not answer as a card' };
    case 'in-use':
      return { id: 'card-present', state: 'unknown', about: name, seen: 'another program uses the card' };
  }
}

async function kindOfCard(backend: ReaderBackend, about: string): Promise<Finding> {
  try {
    const connection = await backend.connect(about);
    try {
      const kind = await askKind(connection);
      return { id: 'card-kind', about, ...kind };
    } finally {
      await connection.close();
    }
  } catch (reason) {
    return { id: 'card-kind', state: 'unknown', about, seen: `the card could not be asked (${asFailure(reason).code})` };
  }
}

async function askKind(connection: CardConnection): Promise<Pick<Finding, 'state' | 'seen'>> {
  const hardware = await connection.transmit(GET_VERSION, COMMAND_LIMIT_MS);
  if (!isMore(hardware) || hardware.length < 9) return { state: 'problem', seen: `no DESFire: it answers GetVersion with ${encodeHex(hardware.slice(-2))}` };
  // The card goes on only when it is asked to, so that it is left with no command half done.
  if (isMore(await connection.transmit(NEXT_FRAME, COMMAND_LIMIT_MS))) await connection.transmit(NEXT_FRAME, COMMAND_LIMIT_MS);
  return kindOf(hardware);
}

/** First part of GetVersion: vendor, type, subtype, major and minor version, storage size, protocol (NXP AN12343, MF2DL(H)x0 data sheet). */
export function kindOf(hardware: Bytes): Pick<Finding, 'state' | 'seen'> {
  const [vendor, type = 0, , major = 0, minor = 0] = hardware;
  if (vendor === 0x04 && (type & 0x0f) === 0x08) return { state: 'ok', seen: `MIFARE DESFire Light, hardware ${major.toString(16)}.${minor.toString(16)}` };
  const other = vendor === 0x04 && (type & 0x0f) === 0x01 ? 'a MIFARE DESFire that is not a DESFire Light' : 'another chip';
  return { state: 'problem', seen: `${other} (vendor ${encodeHex(Uint8Array.of(vendor ?? 0))}, type ${encodeHex(Uint8Array.of(type))})` };
}

function isMore(response: Bytes): boolean {
  return response.at(-2) === 0x91 && response.at(-1) === 0xaf;
}
