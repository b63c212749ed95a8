/** What an operator's desk needs to know of its settlement institution; a world leaves it in its folder for commands that join it. */
import { join } from 'node:path';
import * as v from 'valibot';
import { originSchema } from '#servers/shared/config.ts';
import { readText, writeWhole } from './pki-store.ts';

const settingsSchema = v.strictObject({
  applicationOrigin: originSchema,
  /** PEM files. */
  root: v.string(),
  webRoot: v.string(),
  operatorSigning: v.string(),
  operatorTerminal: v.string(),
});
export type DeskSettings = v.InferOutput<typeof settingsSchema>;

export async function writeDeskSettings(folder: string, settings: DeskSettings): Promise<void> {
  await writeWhole(join(folder, 'desk.json'), JSON.stringify(settings, null, 2), 'replace');
}

/** Throws an Error that says what to do if no world was started in this folder. */
export async function readDeskSettings(folder: string): Promise<DeskSettings> {
  const text = await readText(join(folder, 'desk.json'));
  if (text === undefined) throw new Error(`nothing was started in ${folder} yet: run npm start first`);
  return v.parse(settingsSchema, JSON.parse(text));
}
