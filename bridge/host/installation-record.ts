/** What an installation wrote, kept beside it, so that removal takes exactly that. Written before anything that it names. */
import * as v from 'valibot';
import { jsonText } from './launcher.ts';
import { makeFolder, readPlaced, writePlaced } from './placed-files.ts';
import { BROWSER_IDS, hostFolder, type BrowserId, type Scope } from './places.ts';
import { pathsOf, type Platform } from './platform.ts';

const Path = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));
const Paths = v.pipe(v.array(Path), v.maxLength(1000));

const InstallationRecord = v.strictObject({
  format: v.literal(1),
  version: v.pipe(v.string(), v.maxLength(40)),
  launcher: Path,
  browsers: v.array(v.picklist(BROWSER_IDS as readonly [BrowserId, ...BrowserId[]])),
  /** Program files, of every version that is not quite gone. */
  files: Paths,
  manifests: Paths,
  /** Windows: keys of the registry. */
  keys: Paths,
  /** Folders that were not there before, outermost first. */
  folders: Paths,
});
export type InstallationRecord = v.InferOutput<typeof InstallationRecord>;

export function recordPath(platform: Platform, scope: Scope): string {
  return pathsOf(platform).join(hostFolder(platform, scope), 'installation.json');
}

/** Undefined where nothing is installed, or where the record is damaged: then ownership is told by what a registration names. */
export async function readRecord(platform: Platform, scope: Scope): Promise<InstallationRecord | undefined> {
  const bytes = await readPlaced(platform, recordPath(platform, scope));
  if (bytes === undefined) return undefined;
  try {
    return v.parse(InstallationRecord, JSON.parse(bytes.toString('utf8')));
  } catch {
    return undefined; // as above
  }
}

export async function writeRecord(platform: Platform, scope: Scope, record: InstallationRecord): Promise<void> {
  await makeFolder(platform, hostFolder(platform, scope));
  await writePlaced(platform, recordPath(platform, scope), Buffer.from(jsonText(record)), 0o644);
}
