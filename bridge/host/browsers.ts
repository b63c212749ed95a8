/** Which browsers are on this computer, and which of them live in a sandbox that cannot start a native host. */
import { realpath } from 'node:fs/promises';
import { isPlaced } from './placed-files.ts';
import { BROWSER_IDS, BROWSERS, manifestFolders, placeOf, type BrowserId } from './places.ts';
import { pathsOf, type Platform } from './platform.ts';

export interface FoundBrowser {
  readonly id: BrowserId;
  /** Its program; for a Flatpak its name there. */
  readonly program: string;
  readonly sandbox: 'snap' | 'flatpak' | undefined;
}

/** One entry for each edition: a computer may have Firefox as a package and as a Snap. */
export async function findBrowsers(platform: Platform): Promise<FoundBrowser[]> {
  const found = await Promise.all(BROWSER_IDS.map((id) => editionsOf(platform, id)));
  return found.flat();
}

/** Browsers for which registering makes sense: with an edition that can start hosts. */
export function ableToStartHosts(found: readonly FoundBrowser[]): BrowserId[] {
  return [...new Set(found.filter(({ sandbox }) => sandbox === undefined).map(({ id }) => id))];
}

async function editionsOf(platform: Platform, id: BrowserId): Promise<FoundBrowser[]> {
  const { programs, snap, flatpak } = BROWSERS[id];
  const found: FoundBrowser[] = [];
  for (const program of candidatePaths(platform, programs[platform.system])) {
    if (!(await isPlaced(platform, program))) continue;
    const sandbox = (await isSnap(platform, program)) ? 'snap' : undefined;
    // The names of one program's channels and their links are one edition.
    if (!found.some((each) => each.sandbox === sandbox)) found.push({ id, program, sandbox });
  }
  if (platform.system !== 'linux') return found;
  if (snap !== undefined && !found.some(({ sandbox }) => sandbox === 'snap') && (await isPlaced(platform, `/snap/bin/${snap}`))) found.push({ id, program: `/snap/bin/${snap}`, sandbox: 'snap' });
  if (flatpak !== undefined) {
    const data = placeOf(platform, `~data/flatpak/app/${flatpak}`) ?? '';
    if ((await isPlaced(platform, `/var/lib/flatpak/app/${flatpak}`)) || (await isPlaced(platform, data))) found.push({ id, program: flatpak, sandbox: 'flatpak' });
  }
  return found;
}

function candidatePaths(platform: Platform, names: readonly string[]): string[] {
  if (platform.system !== 'linux') return names.map((name) => placeOf(platform, name)).filter((path) => path !== undefined);
  const paths = pathsOf(platform);
  const folders = (platform.environment['PATH'] ?? '/usr/local/bin:/usr/bin:/bin').split(':').filter((folder) => paths.isAbsolute(folder));
  return folders.flatMap((folder) => names.map((name) => paths.join(folder, name)));
}

/** By its folder, by what its link leads to, or by Ubuntu's script that stands in for the Snap's program. */
async function isSnap(platform: Platform, program: string): Promise<boolean> {
  if (platform.system !== 'linux') return false;
  if (program.startsWith('/snap/')) return true;
  const real = await realpath(platform.locate(program)).catch(() => program); // vanished meanwhile
  if (real.includes('/snap/') || real.endsWith('/bin/snap')) return true;
  return program.endsWith('chromium-browser') && (await isPlaced(platform, '/snap/bin/chromium'));
}

/** Whether a channel's folder is in use: a folder for manifests is only worth writing beside a profile. */
export async function manifestFoldersInUse(platform: Platform, id: BrowserId, scope: 'user' | 'system'): Promise<string[]> {
  const { always, ifParent } = manifestFolders(platform, id, scope);
  const inUse: string[] = [];
  for (const folder of ifParent) if (await isPlaced(platform, pathsOf(platform).dirname(folder))) inUse.push(folder);
  return [...always, ...inUse];
}
