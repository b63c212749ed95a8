/** A card application for tests of readers: answers each command with itself and 9000, and keeps what it was told. */
import { concatBytes, parseHex } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { CardApplication } from './usb-device.ts';

type Outcome = Bytes | 'mute' | 'tear';

export class EchoApplication implements CardApplication {
  readonly uid: Bytes;
  readonly commands: Bytes[] = [];
  resets = 0;
  answer: (command: Bytes) => Promise<Outcome> | Outcome = (command) => concatBytes(command, parseHex('9000'));

  constructor(uid: Bytes = parseHex('04112233445566')) {
    this.uid = uid;
  }

  process(command: Bytes): Promise<Outcome> {
    this.commands.push(command);
    return Promise.resolve(this.answer(command));
  }

  reset(): Promise<void> {
    this.resets++;
    return Promise.resolve();
  }
}
