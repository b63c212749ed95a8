/**
 * Where everything lies in a card's memory. What changes in a payment (balance, log position, TMC, TMV, reader id) lies together,
 * on one page an application; keys and settings lie apart from it, then come the files' contents, each from a page of its own.
 * Read strictly: an image is refused by the name of its field, never half believed.
 */
import { BLOCK_BYTES } from '../crypto.ts';
import { CardImageError } from './card-image-error.ts';
import { concatBytes, equalBytes, parseHex } from '#protocol/bytes.ts';
import { FieldStream } from './field-stream.ts';
import { layOutFile } from './file-layout.ts';
import { PAGE_BYTES } from './eeprom.ts';
import { PROFILE_NAMES } from '../profile.ts';
import { UID_BYTES } from '../factory-image.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication, CardConfiguration, CardFile, CardImage, CardKey, CardLevel, CardMasterKey } from '../card-image.ts';
import type { ProfileName } from '../profile.ts';
import type { Rings } from './record-rings.ts';
import type { Sections } from './file-layout.ts';

/** What a card's memory says: the image, and where the records lie that make it up. */
export interface CardLayout {
  readonly image: CardImage;
  readonly rings: Rings;
}

/** 32 KiB: four times the user memory of the largest card of the family, for the keys, settings and whole pages that its maker does not count. */
export const HOME_PAGES = 512;
const HOME_BYTES = HOME_PAGES * PAGE_BYTES;
/** "KESSAI". */
const MAGIC = parseHex('4B4553534149');
const FORMAT = 1;
const HEAD_PAGES = 1;
/** A section that grows takes so many pages at once, so that what lies behind it seldom moves. */
const SECTION_PAGES = 8;

const MAX_APPLICATIONS = 255;
const LIGHT_KEY_COUNT = 5;
const MAX_KEYS = 14;
const MAX_FILES = 32;
const MAX_NAME_BYTES = 16;
const PROFILE_BYTES = 8;
const MASTER_KEY_TYPES = ['2k3des', 'aes'] as const satisfies readonly CardMasterKey['type'][];

/** The image as it lies in memory from its first page on. Throws CardImageError for one that is impossible or too large. */
export function encodeCardLayout({ image, rings }: CardLayout): Bytes {
  const sections = { state: FieldStream.toWrite(), settings: FieldStream.toWrite(), content: FieldStream.toWrite(), rings: new Map(rings) };
  layOutImage(sections, image);
  sections.state.align('image.state', SECTION_PAGES * PAGE_BYTES);
  sections.settings.align('image.settings', SECTION_PAGES * PAGE_BYTES);
  sections.content.align('image.content', PAGE_BYTES);
  const { state, settings, content } = sections;
  const bytes = [state, settings, content].reduce((sum, section) => sum + section.written.length, HEAD_PAGES * PAGE_BYTES);
  if (bytes > HOME_BYTES) throw new CardImageError(`image: ${bytes} bytes do not fit into the ${HOME_BYTES} of the memory`);
  const head = FieldStream.toWrite();
  layOutHead(head, [state, settings, content].map((section) => section.written.length / PAGE_BYTES));
  return concatBytes(head.written, state.written, settings.written, content.written);
}

/** Inverse of encodeCardLayout; the memory behind the image must be empty. Throws CardImageError that names the field. */
export function parseCardLayout(bytes: Bytes): CardLayout {
  const pages = layOutHead(FieldStream.toRead(bytes), undefined);
  const [statePages = 0, settingsPages = 0, contentPages = 0] = pages;
  const settingsAt = HEAD_PAGES + statePages;
  const contentAt = settingsAt + settingsPages;
  const sections = {
    state: sectionToRead(bytes, HEAD_PAGES, settingsAt),
    settings: sectionToRead(bytes, settingsAt, contentAt),
    content: sectionToRead(bytes, contentAt, contentAt + contentPages),
    rings: new Map<string, number>(),
  };
  const image = layOutImage(sections, undefined);
  const { rings } = sections;
  // Whatever no field has read is part of no image: written anew it must come out the same.
  const canonical = encodeCardLayout({ image, rings });
  const isCanonical = bytes.length >= canonical.length && equalBytes(bytes.subarray(0, canonical.length), canonical) && bytes.subarray(canonical.length).every((byte) => byte === 0);
  if (!isCanonical) throw new CardImageError('image: holds bytes that belong to no field');
  return { image, rings };
}

function sectionToRead(bytes: Bytes, fromPage: number, toPage: number): FieldStream {
  return FieldStream.toRead(bytes.slice(fromPage * PAGE_BYTES, toPage * PAGE_BYTES));
}

/** The lengths of the three sections, in pages. */
function layOutHead(head: FieldStream, pages: readonly number[] | undefined): readonly number[] {
  const isCard = equalBytes(head.bytes('image.magic', MAGIC, MAGIC.length), MAGIC);
  if (!isCard) throw new CardImageError('image.magic: not the memory of a card');
  head.uint('image.format', FORMAT, 1, { min: FORMAT, max: FORMAT });
  const lengths = ['state', 'settings', 'content'].map((name, index) => head.uint(`image.${name}`, pages?.[index], 2, { max: HOME_PAGES }));
  head.align('image.head', HEAD_PAGES * PAGE_BYTES);
  return lengths;
}

function layOutImage(sections: Sections, image: CardImage | undefined): CardImage {
  const { settings } = sections;
  const profile = layOutProfile(settings, image?.profile);
  const uid = settings.bytes('image.uid', image?.uid, UID_BYTES);
  const picc = layOutCardLevel(settings, image?.picc);
  const isLight = profile === 'light';
  if (!isLight && picc.masterKey === undefined) throw new CardImageError('image.picc.masterKey: missing');
  const count = settings.uint('image.applications', image?.applications.length, 1, isLight ? { min: 1, max: 1 } : { max: MAX_APPLICATIONS });
  const applications = Array.from({ length: count }, (_, index) => {
    sections.state.align('image.state', PAGE_BYTES);
    return layOutApplication(sections, index, image?.applications[index]);
  });
  if (isLight && applications[0]?.keys.length !== LIGHT_KEY_COUNT) throw new CardImageError(`image.applications[0].keys: not ${LIGHT_KEY_COUNT}`);
  requireIdentifiers(profile, applications);
  return { profile, uid, picc, applications };
}

function layOutProfile(settings: FieldStream, profile: ProfileName | undefined): ProfileName {
  const read = settings.bytes('image.profile', profile && encodeProfile(profile), PROFILE_BYTES);
  const found = PROFILE_NAMES.find((name) => equalBytes(encodeProfile(name), read));
  if (found === undefined) throw new CardImageError(`image.profile: not ${PROFILE_NAMES.join(' or ')}`);
  return found;
}

function encodeProfile(name: ProfileName): Bytes {
  const bytes = new Uint8Array(PROFILE_BYTES);
  for (let i = 0; i < name.length; i++) bytes[i] = name.charCodeAt(i);
  return bytes;
}

function layOutCardLevel(settings: FieldStream, picc: CardLevel | undefined): CardLevel {
  const hasMasterKey = settings.boolean('image.picc.masterKey', picc && picc.masterKey !== undefined);
  return {
    masterKey: hasMasterKey ? layOutMasterKey(settings, picc?.masterKey) : undefined,
    keySettings: settings.uint('image.picc.keySettings', picc?.keySettings, 1),
    lostBytes: settings.uint('image.picc.lostBytes', picc?.lostBytes, 3),
    configuration: layOutConfiguration(settings, picc?.configuration),
  };
}

function layOutConfiguration(settings: FieldStream, configuration: CardConfiguration | undefined): CardConfiguration {
  const path = 'image.picc.configuration';
  const counting = configuration?.failedAuthentications;
  return {
    failedAuthentications: {
      isCounted: settings.boolean(`${path}.isCounted`, counting?.isCounted),
      limit: settings.uint(`${path}.limit`, counting?.limit, 2, { min: 1 }),
      decrement: settings.uint(`${path}.decrement`, counting?.decrement, 2),
    },
    capabilities: settings.bytes(`${path}.capabilities`, configuration?.capabilities, 2),
    isRenamed: settings.boolean(`${path}.isRenamed`, configuration?.isRenamed),
  };
}

function layOutMasterKey(settings: FieldStream, key: CardMasterKey | undefined): CardMasterKey {
  const type = settings.uint('image.picc.masterKey.type', key && MASTER_KEY_TYPES.indexOf(key.type), 1, { max: MASTER_KEY_TYPES.length - 1 });
  return { type: MASTER_KEY_TYPES[type] ?? 'aes', ...layOutKey(settings, 'image.picc.masterKey', key) };
}

function layOutKey(settings: FieldStream, path: string, key: CardKey | undefined): CardKey {
  return {
    value: settings.bytes(`${path}.value`, key?.value, BLOCK_BYTES),
    version: settings.uint(`${path}.version`, key?.version, 1),
    failures: settings.uint(`${path}.failures`, key?.failures, 4),
    failuresInARow: settings.uint(`${path}.failuresInARow`, key?.failuresInARow, 1),
  };
}

function layOutApplication(sections: Sections, index: number, application: CardApplication | undefined): CardApplication {
  const { settings } = sections;
  const path = `image.applications[${index}]`;
  const aid = settings.optionalUint(`${path}.aid`, application?.aid, 3, { min: 1 });
  const isoId = settings.optionalUint(`${path}.isoId`, application?.isoId, 2);
  const name = layOutName(settings, `${path}.name`, application?.name);
  const keySettings = settings.uint(`${path}.keySettings`, application?.keySettings, 1);
  const hasIsoFileIds = settings.boolean(`${path}.hasIsoFileIds`, application?.hasIsoFileIds);
  const keyCount = settings.uint(`${path}.keys`, application?.keys.length, 1, { min: 1, max: MAX_KEYS });
  const keys = Array.from({ length: keyCount }, (_, number) => layOutKey(settings, `${path}.keys[${number}]`, application?.keys[number]));
  const fileCount = settings.uint(`${path}.files`, application?.files.length, 1, { max: MAX_FILES });
  const files = Array.from({ length: fileCount }, (_, at) =>
    layOutFile({ ...sections, applicationIndex: index, path: `${path}.files[${at}]`, maxContentBytes: HOME_BYTES }, keyCount, application?.files[at]),
  );
  requireFileNumbers(`${path}.files`, files);
  return { aid, isoId, name, keySettings, hasIsoFileIds, keys, files };
}

function layOutName(settings: FieldStream, path: string, name: Bytes | undefined): Bytes | undefined {
  const padded = new Uint8Array(MAX_NAME_BYTES);
  padded.set((name ?? padded).subarray(0, MAX_NAME_BYTES));
  const length = settings.uint(path, name?.length ?? 0, 1, { max: MAX_NAME_BYTES });
  const read = settings.bytes(path, padded, MAX_NAME_BYTES);
  return length === 0 ? undefined : read.slice(0, length);
}

function requireIdentifiers(profile: ProfileName, applications: readonly CardApplication[]): void {
  const aids = applications.map((application) => application.aid);
  if (profile !== 'light' && aids.includes(undefined)) throw new CardImageError('image.applications: one without AID');
  if (new Set(aids).size !== aids.length) throw new CardImageError('image.applications: two with one AID');
}

function requireFileNumbers(path: string, files: readonly CardFile[]): void {
  if (new Set(files.map((file) => file.number)).size !== files.length) throw new CardImageError(`${path}: two files with one number`);
  if (files.filter((file) => file.type === 'transaction-mac').length > 1) throw new CardImageError(`${path}: more than one transaction-MAC file`);
}
