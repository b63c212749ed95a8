/** What the browser really sends to the native host: the host's own standard input, kept on its way in, byte for byte. */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as v from 'valibot';
import { FrameReader } from '#bridge/host/framing.ts';
import { RequestSchema, type Request } from '#bridge/native/messages.ts';

export interface NativeRecord {
  /** To register in the place of the host: it is the host, and keeps what it reads. */
  readonly bundle: string;
  /** Every message so far, of each host process in its order. */
  messages(): Promise<Request[]>;
}

export async function recordNativeMessages(hostBundle: string, folder: string): Promise<NativeRecord> {
  const records = resolve(folder, 'native-messages');
  await mkdir(records, { recursive: true });
  const bundle = resolve(folder, 'recording-host.mjs');
  await writeFile(bundle, recordingHost(hostBundle, records));
  return {
    bundle,
    messages: async () => {
      const files = await readdir(records);
      const streams = await Promise.all(files.sort().map((file) => readFile(join(records, file))));
      return streams.flatMap((bytes) => new FrameReader().push(bytes)).map((message) => v.parse(RequestSchema, message));
    },
  };
}

/** Only listens: the stream starts to flow when the host itself begins to read. */
function recordingHost(hostBundle: string, records: string): string {
  return `import { appendFileSync } from 'node:fs';
const { stdin } = process;
const emit = stdin.emit;
// In the order in which hosts began: process numbers start again from below.
const record = ${JSON.stringify(records)} + '/' + String(Date.now()).padStart(15, '0') + '-' + process.pid;
stdin.emit = function (event, ...parts) {
  if (event === 'data') appendFileSync(record, parts[0]);
  return emit.call(this, event, ...parts);
};
await import(${JSON.stringify(pathToFileURL(hostBundle).href)});
`;
}
