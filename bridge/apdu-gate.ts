/**
 * The relay is a gate, not a pipe: only the commands of the current phase reach the card, and of a debit exactly the bytes that
 * were allowed, once, after consent. Whoever controls the messages (a hostile page, shop or network) cannot make it carry more.
 */
import { parseHex, type Bytes, equalBytes } from '#protocol/bytes.ts';
import type { CardCommand } from '#protocol/apdu.ts';
import { Failure } from '#protocol/failure.ts';
import type { CardChannel } from './card-channel.ts';

/** A command's bytes: hex digits for fixed ones, `*n` for n free ones (what the session enciphers or authenticates). */
type Template = string;

const SELECT_WALLET = '00A4040C10 A00000039656434103F015400000000B 00';
const GET_VERSION = '9060000000';
const ADDITIONAL_FRAME = '90AF000000';
const ANSWER_CHALLENGE = '90AF000020 *32 00';
const GET_VALUE = '906C000009 03 *8 00';
const READ_NEWEST_RECORD = '90AB00000F 01 000000 010000 *8 00';
const READ_ALL_RECORDS = '90AB00000F 01 000000 000000 *8 00';
const READ_TRANSACTION_MAC = '90AD00000F 0F 000000 0C0000 *8 00';
const GET_CARD_UID = '9051000008 *8 00';
const GET_FILE_IDS = '906F000008 *8 00';
const GET_KEY_VERSION = '9064000009 *9 00';
const GET_FILE_SETTINGS = '90F5000009 *9 00';
const GET_TRANSACTION_MAC_SETTINGS = '90F5000009 0F *8 00';
const CHANGE_KEY = '90C4000029 *41 00';
/** No other file may be deleted. */
const DELETE_TRANSACTION_MAC = '90DF000009 0F *8 00';
const CREATE_TRANSACTION_MAC = '90CE00002D 0F *44 00';
const authenticate = (keyNumber: 0 | 1 | 3): Template => `9071000002 0${keyNumber} 00 00`;

interface PhaseRule {
  /** The phases from which this one may be entered; `identify` starts over from anywhere. */
  readonly after: readonly PaymentPhase[];
  /** What may pass, and how often while the phase lasts. */
  readonly passes: readonly { readonly command: Template; readonly times: number }[];
}

export type PaymentPhase = 'identify' | 'rekey' | 'authenticate' | 'read';

const PAYMENT_PHASES: Record<PaymentPhase, PhaseRule> = {
  identify: {
    after: ['identify', 'rekey', 'authenticate', 'read'],
    passes: [
      { command: SELECT_WALLET, times: 1 },
      { command: GET_VERSION, times: 1 },
      { command: ADDITIONAL_FRAME, times: 2 },
      // Key 1 pays: a page that wants key 0 or 3 asked for its challenge wants something else.
      { command: authenticate(1), times: 1 },
    ],
  },
  /** Newer keys, under key 0 only: whoever has no session with it can change nothing with these. Counts are those of a re-keying that has to try both versions of key 0. */
  rekey: {
    after: ['identify'],
    passes: [
      { command: SELECT_WALLET, times: 4 },
      { command: authenticate(0), times: 3 },
      { command: ANSWER_CHALLENGE, times: 3 },
      { command: GET_CARD_UID, times: 2 },
      { command: GET_FILE_IDS, times: 2 },
      { command: GET_KEY_VERSION, times: 10 },
      { command: GET_TRANSACTION_MAC_SETTINGS, times: 1 },
      { command: DELETE_TRANSACTION_MAC, times: 1 },
      { command: CREATE_TRANSACTION_MAC, times: 1 },
      { command: CHANGE_KEY, times: 5 },
      { command: authenticate(1), times: 1 },
    ],
  },
  authenticate: { after: ['identify', 'rekey'], passes: [{ command: ANSWER_CHALLENGE, times: 1 }] },
  read: {
    after: ['authenticate'],
    passes: [
      { command: GET_VALUE, times: 1 },
      { command: READ_NEWEST_RECORD, times: 1 },
      { command: READ_ALL_RECORDS, times: 1 },
      { command: READ_TRANSACTION_MAC, times: 1 },
    ],
  },
};

/** What issuing, loading and refunding need (architecture.md, "The card"); lengths are those of EV2 secure messaging. */
const OPERATOR_COMMANDS: readonly Template[] = [
  SELECT_WALLET,
  GET_VERSION,
  ADDITIONAL_FRAME,
  authenticate(0),
  authenticate(1),
  authenticate(3),
  ANSWER_CHALLENGE,
  GET_CARD_UID,
  '906F000000', // GetFileIDs, open
  GET_FILE_IDS,
  '9064000001 *1 00', // GetKeyVersion, open
  GET_KEY_VERSION,
  '90F5000001 *1 00', // GetFileSettings, open
  GET_FILE_SETTINGS,
  CHANGE_KEY,
  '905F000019 *25 00', // ChangeFileSettings
  '905C000019 09 *24 00', // SetConfiguration of the value file, and no other configuration
  DELETE_TRANSACTION_MAC,
  CREATE_TRANSACTION_MAC,
  GET_VALUE,
  '90AB00000F 01 *14 00', // ReadRecords
  READ_TRANSACTION_MAC,
  '908B00002F 01 000000 100000 *40 00', // WriteRecord
  '900C000019 03 *24 00', // Credit
  '90DC000019 03 *24 00', // Debit
  '90C7000009 01 *8 00', // CommitTransaction
  '90A7000008 *8 00', // AbortTransaction
  // A blank EV2 or EV3: the key at card level, and the wallet's application with its two files, of one shape each.
  '905A000003 000000 00', // SelectApplication, the card level only
  '901A000001 00 00', // AuthenticateISO with the card's master key
  '90AF000010 *16 00',
  '90C4000019 80 *24 00', // ChangeKey of that key to AES, in the session of a DES key
  '9054000018 *24 00', // ChangeKeySettings
  '90CA00001F 01534B 0B A5 01DF A00000039656434103F015400000000B *8 00', // CreateApplication
  '90CC000019 03 03 301F 00000000 *4 00000000 00 *8 00', // CreateValueFile, empty
  '90C0000014 01 01EF 03 3011 100000 050000 *8 00', // CreateCyclicRecordFile
];

/** More conversations than one payment with its recovery can need on one card. */
const MAX_CONVERSATIONS = 16;

export interface ApduGate {
  /** The channel behind the gate; a refused command shuts it for good and gives the card back. */
  readonly channel: CardChannel;
  /** Begins a phase; entering the present one again does not renew its commands, except `identify`, which starts over. */
  enter(phase: PaymentPhase): void;
  /** Names the one batch that may debit: the SPC of a statement whose signature and every field have been checked. */
  allowExactly(commands: readonly CardCommand[]): void;
  /** The customer has agreed to it: from now on exactly that batch passes, whole, once in the life of this gate. */
  consented(): void;
}

/** The gate of a payment. Every refusal is `reader/refused-command`, and the whole batch stays here. */
export function createApduGate(channel: CardChannel): ApduGate {
  return new PaymentGate(channel);
}

/** The gate of an operator's tool, which issues and loads: the same channel, limited to the commands that these need. */
export function createOperatorGate(channel: CardChannel): CardChannel {
  const allowed = OPERATOR_COMMANDS.map(parseTemplate);
  return new GatedChannel(channel, (commands) => commands.every(({ apdu }) => allowed.some((template) => matches(template, apdu))));
}

/** Decides over whole batches; once it has said no, it always does. */
class GatedChannel implements CardChannel {
  readonly readerName: string;
  readonly #inner: CardChannel;
  readonly #mayPass: (commands: readonly CardCommand[]) => boolean;
  #shut = false;

  constructor(inner: CardChannel, mayPass: (commands: readonly CardCommand[]) => boolean) {
    this.readerName = inner.readerName;
    this.#inner = inner;
    this.#mayPass = mayPass;
  }

  async transmit(commands: readonly CardCommand[], signal: AbortSignal): Promise<Bytes[]> {
    // A copy: what was judged is what is sent, whatever the caller does with its own bytes meanwhile.
    const batch = commands.map(({ apdu, expectedStatus }) => ({ apdu: apdu.slice(), expectedStatus }));
    if (this.#shut || batch.length === 0 || !this.#mayPass(batch)) {
      await this.shut();
      throw refusedCommand();
    }
    return this.#inner.transmit(batch, signal);
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  async shut(): Promise<void> {
    if (this.#shut) return;
    this.#shut = true;
    await this.#inner.close();
  }
}

class PaymentGate implements ApduGate {
  readonly #gated: GatedChannel;
  #phase: PaymentPhase | 'start' | 'debit' | 'shut' = 'start';
  #remaining: { readonly template: ParsedTemplate; times: number }[] = [];
  #conversations = 0;
  #allowed: readonly CardCommand[] | undefined;
  #debited = false;

  constructor(channel: CardChannel) {
    this.#gated = new GatedChannel(channel, (commands) => this.#take(commands));
  }

  get channel(): CardChannel {
    return this.#gated;
  }

  enter(phase: PaymentPhase): void {
    if (phase === this.#phase && phase !== 'identify') return;
    if (phase === 'identify') this.#beginConversation();
    else if (!PAYMENT_PHASES[phase].after.some((before) => before === this.#phase)) this.#refuse();
    this.#phase = phase;
    this.#remaining = PAYMENT_PHASES[phase].passes.map(({ command, times }) => ({ template: parseTemplate(command), times }));
  }

  allowExactly(commands: readonly CardCommand[]): void {
    if (commands.length === 0 || this.#debited || !this.#isAuthenticated()) this.#refuse();
    this.#allowed = commands.map(({ apdu, expectedStatus }) => ({ apdu: apdu.slice(), expectedStatus }));
  }

  consented(): void {
    if (this.#allowed === undefined || this.#debited || !this.#isAuthenticated()) this.#refuse();
    this.#phase = 'debit';
  }

  /** Authenticated without a reading is enough where the balance is not read out (paragraph 0064). */
  #isAuthenticated(): boolean {
    return this.#phase === 'authenticate' || this.#phase === 'read';
  }

  #beginConversation(): void {
    if (this.#phase === 'shut' || ++this.#conversations > MAX_CONVERSATIONS) this.#refuse();
    // A new session on the card: an SPC made for the old one is worth nothing and allowed no more.
    this.#allowed = undefined;
  }

  #take(commands: readonly CardCommand[]): boolean {
    const passes = this.#phase === 'debit' ? this.#takeDebit(commands) : commands.every(({ apdu }) => this.#takeOne(apdu));
    if (!passes) this.#phase = 'shut';
    return passes;
  }

  #takeOne(apdu: Bytes): boolean {
    const found = this.#remaining.find(({ template, times }) => times > 0 && matches(template, apdu));
    if (found === undefined) return false;
    found.times--;
    return true;
  }

  #takeDebit(commands: readonly CardCommand[]): boolean {
    const allowed = this.#allowed;
    if (allowed === undefined || this.#debited) return false;
    this.#debited = true;
    this.#allowed = undefined;
    return commands.length === allowed.length && commands.every((command, index) => isSameCommand(command, allowed[index]));
  }

  #refuse(): never {
    this.#phase = 'shut';
    void this.#gated.shut();
    throw refusedCommand();
  }
}

function isSameCommand(given: CardCommand, allowed: CardCommand | undefined): boolean {
  return allowed !== undefined && given.expectedStatus === allowed.expectedStatus && equalBytes(given.apdu, allowed.apdu);
}

function refusedCommand(): Failure {
  return new Failure('reader/refused-command');
}

/** A byte a place; `null` where any byte may stand. */
type ParsedTemplate = readonly (number | null)[];

function parseTemplate(template: Template): ParsedTemplate {
  return template.split(' ').flatMap((part): (number | null)[] => (part.startsWith('*') ? Array.from({ length: Number(part.slice(1)) }, () => null) : [...parseHex(part)]));
}

function matches(template: ParsedTemplate, apdu: Bytes): boolean {
  return apdu.length === template.length && template.every((byte, place) => byte === null || byte === apdu[place]);
}
