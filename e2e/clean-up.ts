/** Before a run: what an earlier one has left behind goes. */
import { rm } from 'node:fs/promises';
import { E2E_FOLDER } from './house.ts';

export default async function cleanUp(): Promise<void> {
  await rm(E2E_FOLDER, { recursive: true, force: true });
}
