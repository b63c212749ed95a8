import { spawn } from 'node:child_process';
import { afterEach, describe, expect, test } from 'vitest';
import { GuestConsole } from './usb-kernel-guest.ts';

/** Takes lines as the guest does (e2e/usb/kernel/guest-init.sh), without a machine around it. */
const SHELL = 'echo booting; echo "<ready>"; while IFS= read -r line; do eval "$line"; echo "<end $?>"; done 2>&1';
const consoles: GuestConsole[] = [];

function open(script = SHELL): GuestConsole {
  const opened = new GuestConsole(spawn('/bin/bash', ['-c', script], { stdio: ['pipe', 'pipe', 'pipe'] }), 'none');
  consoles.push(opened);
  return opened;
}

afterEach(async () => {
  for (const opened of consoles.splice(0)) await opened.close();
});

describe("a guest's console", () => {
  test('answers what each line printed, in the order of asking, in one shell', async () => {
    const guest = open();
    await guest.ready();
    const answers = await Promise.all([guest.run('cd /usr; echo one; echo two'), guest.run('true'), guest.run('pwd')]);
    expect(answers).toEqual(['one\ntwo\n', '', '/usr\n']);
  });

  test('a line that ends in failure throws what it said, and the next is served', async () => {
    const guest = open();
    await guest.ready();
    await expect(guest.run('echo no such device >&2; false')).rejects.toThrow(/ended with 1: no such device/);
    expect(await guest.run('echo alive')).toBe('alive\n');
  });

  test('a line that takes too long throws, and ends the guest', async () => {
    const guest = open();
    await guest.ready();
    await expect(guest.run('echo begun; read -r', 200)).rejects.toThrow(/waited 200 ms for the guest; it said: begun/);
    await expect(guest.run('true')).rejects.toThrow(/the guest ended/);
  });

  test('a guest that ends fails whoever waits, with its last words', async () => {
    await expect(open('echo no memory >&2; exit 1').ready()).rejects.toThrow(/the guest ended: no memory/);
    const guest = open();
    await guest.ready();
    await expect(guest.run('exit 0')).rejects.toThrow(/the guest ended/);
    await expect(guest.run('true')).rejects.toThrow(/the guest ended/);
  });

  test('closing it twice is no harm', async () => {
    const guest = open();
    await guest.ready();
    await guest.close();
    await guest.close();
  });

  test('refuses more than a line', async () => {
    const guest = open();
    await guest.ready();
    expect(() => guest.run('true\ntrue')).toThrow(RangeError);
  });
});
