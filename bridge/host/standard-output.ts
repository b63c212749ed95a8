/** Standard output belongs to frames alone: one stray byte would desynchronise the browser's reader for good. */
import type { Bytes } from '#protocol/bytes.ts';

/** Diverts everything else that writes to stdout (console.log of any library) to stderr, and returns the one way left to write a frame. */
export function takeStandardOutput(): (frame: Bytes) => void {
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = process.stderr.write.bind(process.stderr);
  return (frame) => void write(frame);
}
