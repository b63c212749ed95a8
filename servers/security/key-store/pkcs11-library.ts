/** The PKCS#11 functions that the key store calls, of any token's library, off the main thread; nothing here decides anything. */
import { createRequire } from 'node:module';
import type * as Koffi from 'koffi';
import type { Bytes } from '#protocol/bytes.ts';
import { KeyStoreError } from './key-store.ts';
import { ATTRIBUTE_TYPES, CKA, CKF, CKM, CKU_USER, encodeAttribute, FUNCTIONS, MAX_ATTRIBUTE_BYTES, statusName, UNAVAILABLE, type AttributeName, type Template } from './pkcs11-standard.ts';

export type SlotId = bigint;
export type SessionHandle = bigint;
export type ObjectHandle = bigint;

/** A function of the library did not return CKR_OK. */
export class Pkcs11Error extends Error {
  override readonly name = 'Pkcs11Error';
  readonly status: number;

  constructor(functionName: string, status: number) {
    super(`${functionName}: ${statusName(status)}`);
    this.status = status;
  }
}

export interface TokenState {
  readonly label: string;
  /** CKF_* bits. */
  readonly flags: number;
}

/** Every function rejects with Pkcs11Error. */
export interface Pkcs11Library {
  initialize(): Promise<void>;
  finalize(): Promise<void>;
  /** Slots with a token in them. */
  listSlots(): Promise<readonly SlotId[]>;
  readToken(slot: SlotId): Promise<TokenState>;
  openSession(slot: SlotId, isWritable: boolean): Promise<SessionHandle>;
  closeSession(session: SessionHandle): Promise<void>;
  logIn(session: SessionHandle, pin: Uint8Array): Promise<void>;
  /** At most `limit`. */
  findObjects(session: SessionHandle, template: Template, limit: number): Promise<readonly ObjectHandle[]>;
  /** An attribute that the object does not have is empty. */
  readAttributes<Name extends AttributeName>(session: SessionHandle, object: ObjectHandle, names: readonly Name[]): Promise<Readonly<Record<Name, Bytes>>>;
  /** AES-CBC, zero vector, no padding; `data` is whole blocks. */
  encryptCbc(session: SessionHandle, key: ObjectHandle, data: Bytes): Promise<Bytes>;
  generateAesKey(session: SessionHandle, template: Template): Promise<ObjectHandle>;
  destroyObject(session: SessionHandle, object: ObjectHandle): Promise<void>;
}

/** Vendors' libraries talk to networks and keep buffers on the stack; koffi's threads have 128 KiB unless told. */
const STACK_BYTES = 1 << 20;
const WORD_BYTES = 8;
const MAX_SLOTS = 1024;
/** CK_TOKEN_INFO: label(32), manufacturer(32), model(16), serial number(16), flags, then what we do not need. */
const TOKEN_INFO_BYTES = 512;
const TOKEN_LABEL_BYTES = 32;
const TOKEN_FLAGS_WORD = 12;
const VECTOR_BYTES = 16;

type Argument = Uint8Array | BigUint64Array | bigint | number | null;
type Invoke = (name: keyof typeof FUNCTIONS, ...parameters: readonly Argument[]) => Promise<void>;

/** Arguments of the calls under way. A native thread reads and writes these buffers, and koffi alone does not keep them from the collector. */
const callsUnderWay = new Set<readonly Argument[]>();

interface LoadedLibrary {
  readonly library: Pkcs11Library;
  /** koffi unloads a library whose handle is collected, and our pointers into it would lead nowhere. */
  readonly handle: Koffi.LibraryHandle;
}

/** By path: a library is one for the whole process, however many use it. Never emptied. */
const loaded = new Map<string, LoadedLibrary>();

/** Throws KeyStoreError where the library, or native code at all, cannot be loaded. */
export function loadPkcs11Library(path: string): Pkcs11Library {
  const one = loaded.get(path) ?? openLibrary(path);
  loaded.set(path, one);
  return one.library;
}

function openLibrary(path: string): LoadedLibrary {
  const koffi = loadKoffi();
  // With words of 8 bytes every structure is made of whole words, on Linux and macOS alike; Windows packs them otherwise.
  if (koffi.sizeof('unsigned long') !== WORD_BYTES) throw new KeyStoreError('PKCS#11 works on 64-bit Linux and macOS only');
  try {
    const handle = koffi.load(path);
    return { library: bindLibrary(bindFunctions(koffi, handle), (buffer) => koffi.address(buffer)), handle };
  } catch (cause) {
    throw new KeyStoreError(`the PKCS#11 library ${path} cannot be loaded: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Loaded at first use: a server with a key file needs no native code. */
function loadKoffi(): typeof Koffi {
  try {
    const koffi = createRequire(import.meta.url)('koffi') as typeof Koffi;
    if (koffi.config().async_stack_size !== STACK_BYTES) koffi.config({ async_stack_size: STACK_BYTES });
    return koffi;
  } catch (cause) {
    throw new KeyStoreError('no native code for this platform, so no PKCS#11', { cause });
  }
}

/** C_GetFunctionList is the one symbol that every library must export (PKCS#11 2.40, base specification 5.1). */
function bindFunctions(koffi: typeof Koffi, handle: Koffi.LibraryHandle): Invoke {
  const list = new BigUint64Array(1);
  const status = Number(handle.func('C_GetFunctionList', 'unsigned long', ['void *'])(list));
  if (status !== 0) throw new Pkcs11Error('C_GetFunctionList', status);
  const places = Object.values(FUNCTIONS).map(({ index }) => index);
  // CK_VERSION fills the first word, a pointer to each function the others.
  const pointers = new BigUint64Array(koffi.view(list[0], (2 + Math.max(...places)) * WORD_BYTES).slice(0));
  const natives = new Map(
    Object.entries(FUNCTIONS).map(([name, { index, parameters }]) => {
      const types = parameters.split('').map((letter) => (letter === 'p' ? 'void *' : letter === 'b' ? 'uint8_t' : 'unsigned long'));
      return [name, koffi.decode(pointers[1 + index], koffi.proto('unsigned long', types)) as { async(...given: readonly unknown[]): void }];
    }),
  );
  return (name, ...parameters) =>
    new Promise((resolve, reject) => {
      callsUnderWay.add(parameters);
      natives.get(name)?.async(...parameters, (error: unknown, result: number | bigint) => {
        callsUnderWay.delete(parameters);
        if (error instanceof Error) reject(error);
        else if (Number(result) !== 0) reject(new Pkcs11Error(name, Number(result)));
        else resolve();
      });
    });
}

/** Attributes and their values in one block of memory, as an array of CK_ATTRIBUTE wants them. */
class AttributeBlock {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly count: number;
  readonly #words: BigUint64Array<ArrayBuffer>;
  readonly #starts: readonly number[];

  constructor(attributes: readonly (readonly [type: number, value: Uint8Array])[], addressOf: (buffer: ArrayBuffer) => bigint) {
    const starts: number[] = [];
    let end = attributes.length * 3 * WORD_BYTES;
    for (const [, value] of attributes) {
      starts.push(end);
      end += Math.ceil(value.length / WORD_BYTES) * WORD_BYTES;
    }
    // A buffer of its own never moves; a small typed array may.
    const buffer = new ArrayBuffer(end);
    this.bytes = new Uint8Array(buffer);
    this.#words = new BigUint64Array(buffer);
    this.#starts = starts;
    this.count = attributes.length;
    const address = addressOf(buffer);
    attributes.forEach(([type, value], i) => {
      const start = starts[i] ?? 0;
      this.#words.set([BigInt(type), address + BigInt(start), BigInt(value.length)], i * 3);
      this.bytes.set(value, start);
    });
  }

  /** Empty where the library wrote CK_UNAVAILABLE_INFORMATION. */
  value(i: number): Bytes {
    const length = this.#words[i * 3 + 2] ?? UNAVAILABLE;
    // The length is the library's word: no more than there is room for.
    if (length > BigInt(MAX_ATTRIBUTE_BYTES)) return new Uint8Array();
    const start = this.#starts[i] ?? 0;
    return this.bytes.slice(start, start + Number(length));
  }
}

function bindLibrary(invoke: Invoke, addressOf: (buffer: ArrayBuffer) => bigint): Pkcs11Library {
  const encodeTemplate = (template: Template) => new AttributeBlock(Object.entries(template).map(([name, value]) => [CKA[name as AttributeName], encodeAttribute(value)]), addressOf);
  /** CK_MECHANISM: its kind, and the parameter's place and length. */
  const mechanism = (kind: number, parameter?: Uint8Array<ArrayBuffer>) => words(kind, parameter === undefined ? 0n : addressOf(parameter.buffer), parameter?.length ?? 0);
  const zeroVector = new Uint8Array(new ArrayBuffer(VECTOR_BYTES));

  return {
    initialize: () => invoke('C_Initialize', words(0, 0, 0, 0, CKF.OS_LOCKING_OK, 0)),
    finalize: () => invoke('C_Finalize', null),
    async listSlots() {
      const count = words(0);
      // A token that came or went shows only to a caller who asks for the number (base specification, C_GetSlotList).
      await invoke('C_GetSlotList', 1, null, count);
      const slots = new BigUint64Array(Math.min(Number(count[0]) + 8, MAX_SLOTS));
      count[0] = BigInt(slots.length);
      await invoke('C_GetSlotList', 1, slots, count);
      return [...slots.subarray(0, Math.min(Number(count[0]), slots.length))];
    },
    async readToken(slot) {
      const info = new Uint8Array(new ArrayBuffer(TOKEN_INFO_BYTES));
      await invoke('C_GetTokenInfo', slot, info);
      const label = new TextDecoder().decode(info.subarray(0, TOKEN_LABEL_BYTES)).trimEnd();
      return { label, flags: Number(BigInt.asUintN(32, new BigUint64Array(info.buffer)[TOKEN_FLAGS_WORD] ?? 0n)) };
    },
    async openSession(slot, isWritable) {
      const session = words(0);
      await invoke('C_OpenSession', slot, CKF.SERIAL_SESSION | (isWritable ? CKF.RW_SESSION : 0), null, null, session);
      return session[0] ?? 0n;
    },
    closeSession: (session) => invoke('C_CloseSession', session),
    logIn: (session, pin) => invoke('C_Login', session, CKU_USER, pin, pin.length),
    async findObjects(session, template, limit) {
      const block = encodeTemplate(template);
      await invoke('C_FindObjectsInit', session, block.bytes, block.count);
      try {
        const objects = new BigUint64Array(limit);
        const count = words(0);
        await invoke('C_FindObjects', session, objects, limit, count);
        return [...objects.subarray(0, Math.min(Number(count[0]), limit))];
      } finally {
        await invoke('C_FindObjectsFinal', session);
      }
    },
    async readAttributes<Name extends AttributeName>(session: SessionHandle, object: ObjectHandle, names: readonly Name[]) {
      const block = new AttributeBlock(names.map((name) => [CKA[name], new Uint8Array(MAX_ATTRIBUTE_BYTES)]), addressOf);
      await invoke('C_GetAttributeValue', session, object, block.bytes, block.count).catch((error: unknown) => {
        // Those that it has are filled in all the same (base specification, C_GetAttributeValue).
        if (!(error instanceof Pkcs11Error && ATTRIBUTE_TYPES.has(error.status))) throw error;
      });
      return Object.fromEntries(names.map((name, i) => [name, block.value(i)])) as Record<Name, Bytes>;
    },
    async encryptCbc(session, key, data) {
      const ciphertext = new Uint8Array(new ArrayBuffer(data.length));
      const length = words(data.length);
      await invoke('C_EncryptInit', session, mechanism(CKM.AES_CBC, zeroVector), key);
      await invoke('C_Encrypt', session, data, data.length, ciphertext, length);
      if (Number(length[0]) !== data.length) throw new KeyStoreError('the token enciphered to another length');
      return ciphertext;
    },
    async generateAesKey(session, template) {
      const block = encodeTemplate(template);
      const key = words(0);
      await invoke('C_GenerateKey', session, mechanism(CKM.AES_KEY_GEN), block.bytes, block.count, key);
      return key[0] ?? 0n;
    },
    destroyObject: (session, object) => invoke('C_DestroyObject', session, object),
  };
}

function words(...values: readonly (number | bigint)[]): BigUint64Array<ArrayBuffer> {
  const block = new BigUint64Array(new ArrayBuffer(values.length * WORD_BYTES));
  block.set(values.map(BigInt));
  return block;
}
