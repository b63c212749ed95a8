/** A program for a test that looks into its memory: opens a key store, derives many card keys, keeps the last one, and waits to be ended. */
import { encodeHex, parseHex, type Bytes } from '#protocol/bytes.ts';
import { openKeyStore } from './open.ts';
import { CARD_KEY_PURPOSES } from './key-store.ts';

const store = await openKeyStore(JSON.parse(process.argv[2] ?? '') as Parameters<typeof openKeyStore>[0], process.env, (problem) => process.stderr.write(`${problem.message}\n`));
const uid = parseHex('04DE5F1EACC040');
let cardKey: Bytes = new Uint8Array();
for (let card = 0; card < 50; card++) {
  uid[6] = card;
  // Whatever the store does not hold on to is gone from here on: a library that was loaded, too.
  globalThis.gc?.();
  for (const purpose of CARD_KEY_PURPOSES) cardKey = await store.deriveCardKey(uid, purpose, 1);
}
process.stdout.write('ready\n');
process.stdin.once('end', () => process.stdout.write(encodeHex(cardKey).slice(0, 2))).resume();
