/** Card images as former versions wrote them: JSON with hex strings. Read for its shape only: whether such an image makes sense is asked by the layout that it is converted to. */
import { BLOCK_BYTES } from '../crypto.ts';
import { CardImageError } from './card-image-error.ts';
import { lightImage, UID_BYTES } from '../factory-image.ts';
import { parseHex } from '#protocol/bytes.ts';
import { PROFILE_NAMES } from '../profile.ts';
import type { AccessRights, CardApplication, CardConfiguration, CardFile, CardImage, CardKey, CardLevel, RecordFile } from '../card-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CommMode } from '../secure-messaging.ts';

const FORMAT = 'kessai-card-image-2';
/** A Light only: its keys and files stood in the image itself. */
const FORMAT_OF_LIGHTS = 'kessai-card-image-1';
const MAX_KEYS = 14;
const MAX_FILES = 32;
const MAX_APPLICATIONS = 255;
const MAX_CONTENT_BYTES = 8192;
const MAX_INT32 = 0x7fffffff;
const MAX_UINT32 = 0xffffffff;
const MAX_UINT24 = 0xffffff;

/** Throws CardImageError that names the field. */
export function parseJsonImage(text: Uint8Array): CardImage {
  const image = new Fields('image', parseJson(text));
  if (image.literal('format', [FORMAT, FORMAT_OF_LIGHTS]) === FORMAT_OF_LIGHTS) return parseImageOfLight(image);
  const profile = image.literal('profile', PROFILE_NAMES);
  const uid = image.bytes('uid', UID_BYTES);
  const picc = parseCardLevel(image.object('picc'));
  const applications = image.list('applications', 0, MAX_APPLICATIONS).map(parseApplication);
  image.end();
  return { profile, uid, picc, applications };
}

function parseImageOfLight(image: Fields): CardImage {
  image.literal('profile', ['desfire-light']);
  const uid = image.bytes('uid', UID_BYTES);
  const keys = image.list('keys', 1, MAX_KEYS).map(parseKey);
  const files = parseFiles(image);
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
    files: parseFiles(fields),
  };
  fields.end();
  return application;
}

function parseFiles(holder: Fields): CardFile[] {
  return holder.list('files', 0, MAX_FILES).map(parseFile);
}

function parseKey(fields: Fields): CardKey {
  const key = { value: fields.bytes('value', BLOCK_BYTES), version: fields.integer('version', 0, 255), failures: fields.integer('failures', 0, MAX_INT32), failuresInARow: fields.has('failuresInARow') ? fields.integer('failuresInARow', 0, 255) : 0 };
  fields.end();
  return key;
}

function parseFile(fields: Fields): CardFile {
  const type = fields.literal('type', ['standard', 'backup', 'value', 'linear', 'cyclic', 'transaction-mac']);
  const common = { number: fields.integer('number', 0, 0x1f), mode: fields.integer('mode', 0, 3) as CommMode, rights: parseRights(fields.object('rights')) };
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
  'transaction-mac': (fields, common) => ({
    ...common,
    type: 'transaction-mac',
    appTmKey: fields.bytes('appTmKey', BLOCK_BYTES),
    keyVersion: fields.integer('keyVersion', 0, 255),
    counter: fields.integer('counter', 0, MAX_UINT32),
    tmv: fields.bytes('tmv', 8),
    readerId: fields.bytes('readerId', BLOCK_BYTES),
    counterLimit: fields.has('counterLimit') ? fields.integer('counterLimit', 0, MAX_UINT32) : undefined,
  }),
};

function parseValueFile(fields: Fields, common: Common): CardFile {
  const int32 = (name: string): number => fields.integer(name, ~MAX_INT32, MAX_INT32);
  return {
    ...common,
    type: 'value',
    lower: int32('lower'),
    upper: int32('upper'),
    value: int32('value'),
    limitedCredit: fields.integer('limitedCredit', 0, MAX_UINT32),
    limitedCreditEnabled: fields.boolean('limitedCreditEnabled'),
    freeGetValue: fields.boolean('freeGetValue'),
    configured: fields.boolean('configured'),
  };
}

function parseContent(fields: Fields): { isoId: number | undefined; content: Bytes } {
  return { isoId: parseIsoId(fields), content: fields.bytes('content', 1, MAX_CONTENT_BYTES) };
}

function parseIsoId(fields: Fields): number | undefined {
  return fields.has('isoId') ? fields.integer('isoId', 0, 0xffff) : undefined;
}

function parseRecordFile(fields: Fields, common: Common & { readonly type: RecordFile['type'] }): CardFile {
  const [recordBytes, maxRecords] = [fields.integer('recordBytes', 1, MAX_UINT24), fields.integer('maxRecords', 1, MAX_UINT24)];
  return { ...common, isoId: parseIsoId(fields), recordBytes, maxRecords, records: fields.hexList('records', recordBytes, maxRecords) };
}

function parseRights(fields: Fields): AccessRights {
  const right = (name: string): number => fields.integer(name, 0, 0xf);
  const rights = { read: right('read'), write: right('write'), readWrite: right('readWrite'), change: right('change') };
  fields.end();
  return rights;
}

function parseJson(text: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
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
