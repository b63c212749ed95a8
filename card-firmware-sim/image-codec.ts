/** The card image as text for a file: JSON with hex strings, read strictly, so that a damaged image is refused and never half believed. */
import { areKnownKeys, NEVER } from './access-rights.ts';
import { BLOCK_BYTES } from './crypto.ts';
import { COMM_MODE } from './secure-messaging.ts';
import { encodeHex, parseHex } from '#protocol/bytes.ts';
import { PROFILE_NAMES } from './profile.ts';
import { lightImage, UID_BYTES } from './factory-image.ts';
import { usableRecords } from './card-image.ts';
import type { AccessRights, CardApplication, CardConfiguration, CardFile, CardImage, CardKey, CardLevel, RecordFile } from './card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from './secure-messaging.ts';

export class CardImageError extends Error {
  override readonly name = 'CardImageError';
}

const FORMAT = 'kessai-card-image-2';
/** A Light only: its keys and files stood in the image itself. */
const FORMAT_OF_LIGHTS = 'kessai-card-image-1';
const LIGHT_KEY_COUNT = 5;
const MAX_KEYS = 14;
const MAX_FILES = 32;
const MAX_APPLICATIONS = 255;
const MAX_STANDARD_FILE_BYTES = 8192;
const MAX_INT32 = 0x7fffffff;
const MAX_UINT32 = 0xffffffff;
const MAX_UINT24 = 0xffffff;

export function encodeCardImage(image: CardImage): string {
  const asText = (_: string, value: unknown): unknown => (value instanceof Uint8Array ? encodeHex(value) : value);
  return `${JSON.stringify({ format: FORMAT, ...image }, asText, 1)}\n`;
}

/** Throws CardImageError that names the field. */
export function parseCardImage(text: string): CardImage {
  const image = new Fields('image', parseJson(text));
  if (image.literal('format', [FORMAT, FORMAT_OF_LIGHTS]) === FORMAT_OF_LIGHTS) return parseImageOfLight(image);
  const profile = image.literal('profile', PROFILE_NAMES);
  const uid = image.bytes('uid', UID_BYTES);
  const picc = parseCardLevel(image.object('picc'));
  const applications = image.list('applications', profile === 'light' ? 1 : 0, profile === 'light' ? 1 : MAX_APPLICATIONS).map(parseApplication);
  image.end();
  if (profile === 'light' && applications[0]?.keys.length !== LIGHT_KEY_COUNT) throw new CardImageError(`image.applications[0].keys: not ${LIGHT_KEY_COUNT}`);
  if (profile !== 'light' && picc.masterKey === undefined) throw new CardImageError('image.picc.masterKey: missing');
  const aids = applications.map((application) => application.aid);
  if (profile !== 'light' && aids.includes(undefined)) throw new CardImageError('image.applications: one without AID');
  if (new Set(aids).size !== aids.length) throw new CardImageError('image.applications: two with one AID');
  return { profile, uid, picc, applications };
}

function parseImageOfLight(image: Fields): CardImage {
  image.literal('profile', ['desfire-light']);
  const uid = image.bytes('uid', UID_BYTES);
  const keys = image.list('keys', LIGHT_KEY_COUNT, LIGHT_KEY_COUNT).map(parseKey);
  const files = parseFiles(image, LIGHT_KEY_COUNT);
  image.end();
  return lightImage(uid, keys, files);
}

function parseCardLevel(fields: Fields): CardLevel {
  const level = {
    masterKey: fields.has('masterKey') ? parseMasterKey(fields.object('masterKey')) : undefined,
    keySettings: fields.integer('keySettings', 0, 255),
    lostBytes: fields.integer('lostBytes', 0, MAX_UINT24),
    configuration: parseConfiguration(fields.object('configuration')),
  };
  fields.end();
  return level;
}

function parseConfiguration(fields: Fields): CardConfiguration {
  const counting = fields.object('failedAuthentications');
  const failedAuthentications = { isCounted: counting.boolean('isCounted'), limit: counting.integer('limit', 1, 0xffff), decrement: counting.integer('decrement', 0, 0xffff) };
  counting.end();
  const configuration = { failedAuthentications, capabilities: fields.bytes('capabilities', 2), isRenamed: fields.boolean('isRenamed') };
  fields.end();
  return configuration;
}

function parseMasterKey(fields: Fields): CardLevel['masterKey'] {
  return { type: fields.literal('type', ['2k3des', 'aes']), ...parseKey(fields) };
}

function parseApplication(fields: Fields): CardApplication {
  const keys = fields.list('keys', 1, MAX_KEYS).map(parseKey);
  const application = {
    aid: fields.has('aid') ? fields.integer('aid', 1, MAX_UINT24) : undefined,
    isoId: fields.has('isoId') ? fields.integer('isoId', 0, 0xffff) : undefined,
    name: fields.has('name') ? fields.bytes('name', 1, 16) : undefined,
    keySettings: fields.integer('keySettings', 0, 255),
    hasIsoFileIds: fields.boolean('hasIsoFileIds'),
    keys,
    files: parseFiles(fields, keys.length),
  };
  fields.end();
  return application;
}

function parseFiles(holder: Fields, keyCount: number): CardFile[] {
  const files = holder.list('files', 0, MAX_FILES).map((fields) => parseFile(fields, keyCount));
  if (new Set(files.map((file) => file.number)).size !== files.length) throw holder.error('files', 'two files with one number');
  if (files.filter((file) => file.type === 'transaction-mac').length > 1) throw holder.error('files', 'more than one transaction-MAC file');
  return files;
}

function parseKey(fields: Fields): CardKey {
  const key = { value: fields.bytes('value', BLOCK_BYTES), version: fields.integer('version', 0, 255), failures: fields.integer('failures', 0, MAX_INT32), failuresInARow: fields.has('failuresInARow') ? fields.integer('failuresInARow', 0, 255) : 0 };
  fields.end();
  return key;
}

function parseFile(fields: Fields, keyCount: number): CardFile {
  const type = fields.literal('type', ['standard', 'backup', 'value', 'linear', 'cyclic', 'transaction-mac']);
  const common = { number: fields.integer('number', 0, 0x1f), mode: parseMode(fields), rights: parseRights(fields.object('rights'), keyCount) };
  const file = TYPE_PARSERS[type](fields, common);
  fields.end();
  return file;
}

type Common = Pick<CardFile, 'number' | 'mode' | 'rights'>;

const TYPE_PARSERS: Record<CardFile['type'], (fields: Fields, common: Common) => CardFile> = {
  standard: (fields, common) => ({ ...common, type: 'standard', ...parseContent(fields) }),
  backup: (fields, common) => ({ ...common, type: 'backup', ...parseContent(fields) }),
  value: parseValueFile,
  linear: (fields, common) => parseRecordFile(fields, { ...common, type: 'linear' }),
  cyclic: (fields, common) => parseRecordFile(fields, { ...common, type: 'cyclic' }),
  'transaction-mac': (fields, common) => {
    if (common.rights.write !== NEVER) throw fields.error('rights', 'a transaction-MAC file cannot be written');
    return {
      ...common,
      type: 'transaction-mac',
      appTmKey: fields.bytes('appTmKey', BLOCK_BYTES),
      keyVersion: fields.integer('keyVersion', 0, 255),
      counter: fields.integer('counter', 0, MAX_UINT32),
      tmv: fields.bytes('tmv', 8),
      readerId: fields.bytes('readerId', BLOCK_BYTES),
      counterLimit: fields.has('counterLimit') ? fields.integer('counterLimit', 0, MAX_UINT32) : undefined,
    };
  },
};

function parseValueFile(fields: Fields, common: Common): CardFile {
  const [lower, upper] = [fields.integer('lower', ~MAX_INT32, MAX_INT32), fields.integer('upper', ~MAX_INT32, MAX_INT32)];
  return {
    ...common,
    type: 'value',
    lower,
    upper,
    value: fields.integer('value', lower, upper),
    limitedCredit: fields.integer('limitedCredit', 0, MAX_UINT32),
    limitedCreditEnabled: fields.boolean('limitedCreditEnabled'),
    freeGetValue: fields.boolean('freeGetValue'),
    configured: fields.boolean('configured'),
  };
}

function parseContent(fields: Fields): { isoId: number | undefined; content: Bytes } {
  return { isoId: parseIsoId(fields), content: fields.bytes('content', 1, MAX_STANDARD_FILE_BYTES) };
}

function parseIsoId(fields: Fields): number | undefined {
  return fields.has('isoId') ? fields.integer('isoId', 0, 0xffff) : undefined;
}

function parseRecordFile(fields: Fields, common: Common & { readonly type: RecordFile['type'] }): CardFile {
  const [recordBytes, maxRecords] = [fields.integer('recordBytes', 1, MAX_UINT24), fields.integer('maxRecords', common.type === 'cyclic' ? 2 : 1, MAX_UINT24)];
  const empty = { ...common, isoId: parseIsoId(fields), recordBytes, maxRecords, records: [] };
  return { ...empty, records: fields.hexList('records', recordBytes, usableRecords(empty)) };
}

function parseMode(fields: Fields): CommMode {
  const modes: readonly number[] = Object.values(COMM_MODE);
  const mode = fields.integer('mode', 0, 3);
  if (!modes.includes(mode)) throw fields.error('mode', 'no communication mode');
  return mode as CommMode;
}

function parseRights(fields: Fields, keyCount: number): AccessRights {
  const right = (name: string): number => fields.integer(name, 0, NEVER);
  const rights = { read: right('read'), write: right('write'), readWrite: right('readWrite'), change: right('change') };
  if (!areKnownKeys(rights, keyCount)) throw fields.error('read', 'a key that this card does not have');
  fields.end();
  return rights;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CardImageError('image: not JSON', { cause });
  }
}

/** The fields of one JSON object, each asked for once; whatever nobody asked for is refused at the end. */
class Fields {
  readonly #path: string;
  readonly #rest: Map<string, unknown>;

  constructor(path: string, value: unknown) {
    this.#path = path;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new CardImageError(`${path}: not an object`);
    this.#rest = new Map(Object.entries(value));
  }

  error(name: string, what: string): CardImageError {
    return new CardImageError(`${this.#path}.${name}: ${what}`);
  }

  has(name: string): boolean {
    return this.#rest.has(name);
  }

  end(): void {
    const [unknown] = this.#rest.keys();
    if (unknown !== undefined) throw this.error(unknown, 'unknown field');
  }

  integer(name: string, min: number, max: number): number {
    const value = this.#take(name);
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) throw this.error(name, `not an integer from ${min} to ${max}`);
    return value;
  }

  boolean(name: string): boolean {
    const value = this.#take(name);
    if (typeof value !== 'boolean') throw this.error(name, 'neither true nor false');
    return value;
  }

  literal<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.#take(name);
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw this.error(name, `not ${allowed.join(' or ')}`);
    return found;
  }

  bytes(name: string, min: number, max = min): Bytes {
    return this.#hex(name, this.#take(name), min, max);
  }

  hexList(name: string, bytesEach: number, maxCount: number): Bytes[] {
    return this.#array(name, 0, maxCount).map((value) => this.#hex(name, value, bytesEach, bytesEach));
  }

  object(name: string): Fields {
    return new Fields(`${this.#path}.${name}`, this.#take(name));
  }

  list(name: string, min: number, max: number): Fields[] {
    return this.#array(name, min, max).map((value, index) => new Fields(`${this.#path}.${name}[${index}]`, value));
  }

  #array(name: string, min: number, max: number): unknown[] {
    const value = this.#take(name);
    if (!Array.isArray(value) || value.length < min || value.length > max) throw this.error(name, `not a list of ${min} to ${max}`);
    return value as unknown[];
  }

  #hex(name: string, value: unknown, min: number, max: number): Bytes {
    if (typeof value !== 'string' || value.length % 2 !== 0 || !/^[0-9A-F]*$/.test(value)) throw this.error(name, 'not a string of upper-case hex');
    const bytes = parseHex(value);
    if (bytes.length < min || bytes.length > max) throw this.error(name, `not ${min === max ? min : `${min} to ${max}`} bytes`);
    return bytes;
  }

  #take(name: string): unknown {
    if (!this.#rest.has(name)) throw this.error(name, 'missing');
    const value = this.#rest.get(name);
    this.#rest.delete(name);
    return value;
  }
}
