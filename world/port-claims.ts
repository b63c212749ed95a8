/** Claims on TCP ports between the moment when a world chooses them and the moment when its servers listen: two worlds that start at once choose apart. */
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';

const FOLDER = join(tmpdir(), `kessai-ports-${userInfo().uid}`);

/** Whether this process has the port for itself, as long as it lives; false where another process that lives has it. */
export async function claimPort(port: number, folder: string = FOLDER): Promise<boolean> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, String(port));
  try {
    await writeFile(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch {
    const owner = Number(await readFile(file, 'utf8').catch(() => ''));
    if (owner === process.pid) return true;
    if (isAlive(owner)) return false;
    await rm(file, { force: true });
    // Whoever is first has it; the other looks elsewhere.
    return writeFile(file, String(process.pid), { flag: 'wx' }).then(() => true, () => false);
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
