/** What a command costs inside the chip, told from its APDU and its answer alone: AES blocks by the rules of EV2 secure messaging, page writes by command where nobody counted them. */
import { BLOCK_BYTES } from '../crypto.ts';
import { MAC_BYTES } from '../secure-messaging.ts';
import { parseCommandApdu } from '../apdu.ts';
import { STATUS } from '../status.ts';

/**
 * The chip's own time for one command and its answer, without cryptography: fetching, checking, copying. Derived: NXP's times of one MIFARE DESFire with
 * frames of 64 bytes (1 kB read plain, from REQA to deselection: 130, 80, 52 and 43 ms at 106, 212, 424 and 848 kbit/s; application note on higher
 * data rates) leave 15.6 to 19.4 ms over the modelled air, for 19 commands.
 */
export const COMMAND_US = 950;
/**
 * One AES block. Derived as above: the same 1 kB enciphered took 33 to 41 ms more, 64 blocks of 16 bytes. An upper estimate: the chip was older
 * than EV2, it enciphered 8 bytes at a time, and its padding and checksum are in it. No figure of a DESFire Light, EV2 or EV3 was found in public.
 */
export const AES_BLOCK_US = 560;
/** Erase and write of one EEPROM page: "fast programming cycles (erase/write) 1 ms" (product pages of DESFire EV2). */
export const PAGE_WRITE_US = 1_000;
/** Where nobody counted: what the simulated memory most often writes for a payment's commit, journal and home together. How a DESFire lays out its memory is not public. */
const COMMIT_PAGE_WRITES = 5;
/** Where nobody counted: the same for a change of one page, journal and home. */
const CHANGE_PAGE_WRITES = 3;

export interface ChipWork {
  /** As the data sheet spells it; an unknown one by its instruction byte. */
  readonly command: string;
  readonly aesBlocks: number;
  readonly pageWrites: number;
}

/** A command and its whole answer, as they cross the air inside their blocks. */
export interface CardExchange {
  readonly command: Uint8Array;
  readonly answer: Uint8Array;
  /** Pages that the memory wrote meanwhile, if somebody counted. */
  readonly pageWrites?: number | undefined;
}

interface CommandCost {
  readonly name: string;
  /** Which way data travels enciphered in a file of full mode. */
  readonly data?: 'in' | 'out';
  /** Becomes part of the TMI, which the chip has to MAC. */
  readonly inTmi?: true;
  readonly pageWrites?: number;
}

const COSTS: ReadonlyMap<number, CommandCost> = new Map<number, CommandCost>([
  [0x51, { name: 'GetCardUID', data: 'out' }],
  [0x60, { name: 'GetVersion' }],
  [0x64, { name: 'GetKeyVersion' }],
  [0x6f, { name: 'GetFileIDs' }],
  [0x61, { name: 'GetISOFileIDs' }],
  [0xf5, { name: 'GetFileSettings' }],
  [0x5f, { name: 'ChangeFileSettings', data: 'in', pageWrites: CHANGE_PAGE_WRITES }],
  [0xc4, { name: 'ChangeKey', data: 'in', pageWrites: CHANGE_PAGE_WRITES }],
  [0x5c, { name: 'SetConfiguration', data: 'in', pageWrites: CHANGE_PAGE_WRITES }],
  [0xce, { name: 'CreateTransactionMACFile', data: 'in', pageWrites: CHANGE_PAGE_WRITES }],
  [0xdf, { name: 'DeleteFile', pageWrites: CHANGE_PAGE_WRITES }],
  [0x6c, { name: 'GetValue', data: 'out', inTmi: true }],
  [0x0c, { name: 'Credit', data: 'in', inTmi: true }],
  [0x1c, { name: 'LimitedCredit', data: 'in', inTmi: true }],
  [0xdc, { name: 'Debit', data: 'in', inTmi: true }],
  [0xad, { name: 'ReadData', data: 'out', inTmi: true }],
  [0x8d, { name: 'WriteData', data: 'in', inTmi: true, pageWrites: CHANGE_PAGE_WRITES }],
  [0xab, { name: 'ReadRecords', data: 'out', inTmi: true }],
  [0x8b, { name: 'WriteRecord', data: 'in', inTmi: true }],
  [0xba, { name: 'UpdateRecord', data: 'in', inTmi: true }],
  [0xeb, { name: 'ClearRecordFile', inTmi: true }],
  [0xc8, { name: 'CommitReaderID', data: 'in', inTmi: true }],
  [0xc7, { name: 'CommitTransaction', pageWrites: COMMIT_PAGE_WRITES }],
  [0xa7, { name: 'AbortTransaction' }],
]);

const INS = { select: 0xa4, authenticateFirst: 0x71, authenticateNonFirst: 0x77, additionalFrame: 0xaf, commit: 0xc7 } as const;
const CLA_ISO = 0x00;
const SELECT_BY_NAME = 0x04;
/** The leading byte, CmdCtr and TI stand before what is MACed. */
const MAC_PREFIX_BYTES = 7;
/** Subkeys of the card's key and of SesAuthMACKey (RFC 4493, 2.3: a block each), and two CMACs over 32 bytes (AN12343, "session key generation"). */
const SESSION_KEY_BLOCKS = 1 + 2 * 2 + 1;
/** SesTMMACKey (subkeys and one block) and the subkeys of the TMV. */
const TRANSACTION_MAC_BLOCKS = 1 + 1 + 1;

/** ISO 7816-4, 7.1.1: SELECT by DF name, with which every conversation with a wallet begins. */
export function isSelectionByName([cla, ins, p1]: Uint8Array): boolean {
  return cla === CLA_ISO && ins === INS.select && p1 === SELECT_BY_NAME;
}

/** Follows one card through its field time; `take` in the order of the commands. */
export class ChipWorkCounter {
  #isAuthenticated = false;
  /** What the next additional frame belongs to. */
  #unfinished: string | undefined;

  /** The field went off. */
  reset(): void {
    this.#isAuthenticated = false;
    this.#unfinished = undefined;
  }

  take({ command, answer, pageWrites }: CardExchange): ChipWork {
    const apdu = parseCommandApdu(new Uint8Array(command));
    const status = answer.at(-1) ?? 0;
    if (apdu === undefined) return { command: 'unknown', aesBlocks: 0, pageWrites: pageWrites ?? 0 };
    const { cla, ins, data } = apdu;
    if (cla === CLA_ISO) {
      if (ins === INS.select) this.reset();
      return { command: ins === INS.select ? 'ISOSelectFile' : nameOf(ins), aesBlocks: 0, pageWrites: pageWrites ?? 0 };
    }
    const unfinished = this.#unfinished;
    const name = ins === INS.additionalFrame ? (unfinished ?? nameOf(ins)) : nameOf(ins);
    const aesBlocks = this.#aesBlocks(ins, data.length, Math.max(0, answer.length - 2), status);
    this.#unfinished = status === STATUS.ADDITIONAL_FRAME ? name : undefined;
    const isDone = status === STATUS.OPERATION_OK;
    return { command: name, aesBlocks, pageWrites: pageWrites ?? (isDone ? (COSTS.get(ins)?.pageWrites ?? 0) : 0) };
  }

  #aesBlocks(ins: number, payloadBytes: number, answerBytes: number, status: number): number {
    const isHandshake = ins === INS.authenticateFirst || ins === INS.authenticateNonFirst;
    // Part 1 only makes E(K, RndB); an answer of another length enciphers nothing.
    if (isHandshake) {
      this.#isAuthenticated = false;
      return blocksOf(answerBytes);
    }
    if (ins === INS.additionalFrame && this.#unfinished?.startsWith('Authenticate') === true) {
      this.#isAuthenticated = status === STATUS.OPERATION_OK;
      return blocksOf(payloadBytes) + (this.#isAuthenticated ? blocksOf(answerBytes) + SESSION_KEY_BLOCKS : 0);
    }
    if (!this.#isAuthenticated) return 0;
    const isError = status !== STATUS.OPERATION_OK && status !== STATUS.ADDITIONAL_FRAME && status !== STATUS.NO_CHANGES;
    // Any error ends the session, and its answer has no MAC.
    if (isError) this.#isAuthenticated = false;
    return securedBlocks(ins, payloadBytes, isError ? undefined : answerBytes);
  }
}

/**
 * A MACed command and its answer. Where lengths alone do not tell a file's mode, full mode is assumed, which costs most; reading the
 * file of the transaction MAC counts as part of the TMI, two blocks more than it costs.
 */
function securedBlocks(ins: number, payloadBytes: number, answerBytes: number | undefined): number {
  const cost = COSTS.get(ins);
  const request = Math.max(0, payloadBytes - MAC_BYTES);
  const answer = Math.max(0, (answerBytes ?? 0) - MAC_BYTES);
  // A plain header is never as long as a block, so what is over whole blocks is the header.
  const enciphered = cost?.data === 'in' ? Math.floor(request / BLOCK_BYTES) : cost?.data === 'out' && answer % BLOCK_BYTES === 0 ? answer / BLOCK_BYTES : 0;
  const iv = enciphered > 0 ? 1 : 0;
  const macs = blocksOf(MAC_PREFIX_BYTES + request) + (answerBytes === undefined ? 0 : blocksOf(MAC_PREFIX_BYTES + answer));
  // The padding's block is not part of the TMI; the command's own is.
  const tmi = cost?.inTmi === true ? 1 + Math.max(0, enciphered - 1) : 0;
  return macs + iv + enciphered + tmi + (ins === INS.commit && answerBytes !== undefined ? TRANSACTION_MAC_BLOCKS : 0);
}

function blocksOf(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES);
}

function nameOf(ins: number): string {
  if (ins === INS.authenticateFirst) return 'AuthenticateEV2First';
  if (ins === INS.authenticateNonFirst) return 'AuthenticateEV2NonFirst';
  return COSTS.get(ins)?.name ?? `command ${ins.toString(16).padStart(2, '0').toUpperCase()}`;
}
