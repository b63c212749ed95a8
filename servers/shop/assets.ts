/** The shop's files, read once at the start: each with its type and hash, so that a browser may keep it for ever and checks what it runs. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { itemsOf, type ShopProfile } from './catalogue.ts';
import type { AssetLink } from './pages/layout.ts';

export interface Asset extends AssetLink {
  readonly type: string;
  readonly bytes: Buffer;
  /** Strong, quoted (RFC 9110, 8.8.3). */
  readonly etag: string;
  /** Query of `href`: whoever asks with it may keep the answer. */
  readonly version: string;
}

const TYPES: Readonly<Record<string, string>> = { '.css': 'text/css; charset=utf-8', '.js': 'text/javascript; charset=utf-8', '.svg': 'image/svg+xml' };
const MAX_ASSET_BYTES = 1024 * 1024;

/** Reads `file`, to be served at `path`. Throws an Error for a file that is absent, empty, too large or of another type. */
export function readAsset(file: string, path: string): Asset {
  const bytes = readFileSync(file);
  const type = TYPES[extname(file)];
  if (type === undefined) throw new Error(`${file}: not a type that the shop serves`);
  if (bytes.length === 0 || bytes.length > MAX_ASSET_BYTES) throw new Error(`${file}: ${bytes.length} bytes`);
  const hash = createHash('sha384').update(bytes).digest();
  const version = hash.toString('base64url').slice(0, 16);
  return { href: `${path}?v=${version}`, integrity: `sha384-${hash.toString('base64')}`, type, bytes, etag: `"${version}"`, version };
}

/** The files of the pages of one shop, by name. */
export function readShopAssets(profile: ShopProfile): ReadonlyMap<string, Asset> {
  const here = import.meta.dirname;
  const pictures = [profile.mark, ...itemsOf(profile).map(({ picture }) => picture)].map((name) => join(here, 'pictures', name));
  const browser = ['shop.css', 'front-page.js', 'receipt-page.js'].map((name) => join(here, 'pages', 'browser', name));
  return new Map([...pictures, ...browser].map((file) => [basename(file), readAsset(file, `/assets/${basename(file)}`)]));
}
