/** What the reader doctor can find, here and in the browser: for every finding what it is about and what to do, per system. Data alone. */
import type { KnownTrouble, OperatingSystem } from './reader-registry.ts';

/** `unknown`: could not be looked at from here, or there is nothing to judge yet (no card lies there). */
export type FindingState = 'ok' | 'problem' | 'unknown';

interface FindingText {
  /** What was looked at, as a heading. */
  readonly title: string;
  /** What to do when it is not well; `any` where a system has no words of its own. None: the finding only informs. */
  readonly fix: Readonly<Partial<Record<OperatingSystem | 'any', string>>>;
}

export const FINDINGS = {
  'node-version': {
    title: 'Node.js for the reader program',
    fix: { any: 'Install Node.js 20.19 or newer, then run `npx kessai-host install` again: the program is started with the Node.js that installed it.' },
  },
  'browser-found': { title: 'Browser', fix: { any: 'Install Chrome, Chromium, Edge, Brave or Firefox.' } },
  'browser-sandboxed': {
    title: 'Browser from Snap or Flatpak',
    fix: {
      linux: 'A browser from Snap or Flatpak runs in a sandbox and cannot start the reader program. Install it as a package of your distribution or of its maker (.deb, .rpm), then run `npx kessai-host install`. Readers over WebUSB and WebHID need no reader program, but Snap also asks for `sudo snap connect chromium:raw-usb`.',
    },
  },
  'host-registered': { title: 'Reader program registered', fix: { any: 'Run `npx kessai-host install`. Readers over WebUSB and WebHID work without it.' } },
  'host-foreign': {
    title: 'Registration by another installation',
    fix: { any: 'The registration names a program that `npx kessai-host install` did not write. If it is an old copy, run `npx kessai-host install --replace`.' },
  },
  'host-launcher': { title: 'Reader program in its place', fix: { any: 'Run `npx kessai-host install` again: it puts back what is missing.' } },
  'host-answers': {
    title: 'Reader program starts and answers',
    fix: { any: 'Run `npx kessai-host install` again. If it still does not start, run the launcher named above in a terminal: it prints why.' },
  },
  'host-version': { title: 'Reader program and extension of one version', fix: { any: 'Run `npx kessai-host install` from the version that the extension has.' } },
  'extension-allowed': {
    title: 'Extension allowed to call the reader program',
    fix: {
      chromeos: 'Remove the Smart Card Connector, install it again, and allow this extension when it asks.',
      any: 'Run `npx kessai-host install --extension-id ID` with the id that the browser shows on its page of extensions.',
    },
  },
  'pcsc-service': {
    title: 'PC/SC service',
    fix: {
      linux: 'Install and start it: on Debian and Ubuntu `sudo apt install pcscd`, on Fedora `sudo dnf install pcsc-lite pcsc-lite-ccid`; then `sudo systemctl enable --now pcscd.socket`.',
      windows: 'Connect the reader; if nothing changes, open services.msc and start "Smart Card".',
      macos: 'The service is part of macOS and starts with the first reader: connect the reader; if nothing changes, restart the computer.',
      chromeos: "Install Google's Smart Card Connector from the Chrome Web Store. If it is installed, restart the browser.",
    },
  },
  'pcsc-reader': {
    title: 'Reader on the PC/SC service',
    fix: {
      linux: 'Connect the reader. If it is connected, install its driver: on Debian and Ubuntu `sudo apt install libccid`.',
      any: "Connect the reader. If it is connected, install its maker's driver.",
    },
  },
  'card-present': { title: 'Card on the reader', fix: { any: 'Put the card flat on the reader, alone, and leave it there.' } },
  'card-kind': { title: 'Kind of card', fix: { any: 'Use the payment card that you were given.' } },
  'usb-reader': { title: 'Known reader on USB', fix: { any: 'Connect the reader; a hub without power of its own may be too weak for it.' } },
  'device-access': {
    title: 'Right to open the reader',
    fix: { linux: 'Write the rules with `npx kessai-host doctor --udev-rules | sudo tee /etc/udev/rules.d/60-kessai.rules`, then `sudo udevadm control --reload`, and connect the reader anew.' },
  },
  'udev-rule': {
    title: 'udev rule for the reader',
    fix: { linux: 'Write the rules with `npx kessai-host doctor --udev-rules | sudo tee /etc/udev/rules.d/60-kessai.rules`, then `sudo udevadm control --reload`, and connect the reader anew.' },
  },
  port100: {
    title: "The kernel's NFC driver port100 keeps the RC-S380 from the browser",
    fix: { linux: 'Keep the driver away: `echo blacklist port100 | sudo tee /etc/modprobe.d/kessai.conf`, `sudo modprobe -r port100`, then connect the reader anew.' },
  },
  pn533: {
    title: "The kernel's NFC driver pn533 keeps the reader from the PC/SC service",
    fix: { linux: 'Keep the driver away: `printf "blacklist pn533_usb\\nblacklist pn533\\n" | sudo tee /etc/modprobe.d/kessai.conf`, `sudo modprobe -r pn533_usb pn533`, then connect the reader anew.' },
  },
  'not-winusb': {
    title: 'Windows driver of the reader',
    fix: { windows: "WebUSB needs the driver WinUSB. For Sony's readers switch to it in Sony's \"NFC Port Software\"; then connect the reader anew." },
  },
  'shared-with-pcsc': {
    title: 'PC/SC service and browser at one reader',
    fix: {
      linux: 'The PC/SC service may hold this reader while the browser wants it. Close programs that use it; if it stays in use, pay through the reader program instead, or stop the service: `sudo systemctl stop pcscd.socket pcscd`.',
      any: 'Another program may hold this reader through PC/SC while the browser wants it. Close that program, or pay through the reader program instead.',
    },
  },
  'permission-forgotten': { title: 'Permission after unplugging', fix: { any: 'This reader has no serial number, so the browser forgets its permission when it is unplugged. Leave it connected, or pair it again each time.' } },
  'pass-through-locked': { title: 'Card commands on a payment terminal', fix: { any: "This is a payment terminal. If it refuses card commands, its owner must switch on pass-through with the maker's program." } },
} as const satisfies Record<string, FindingText> & Record<KnownTrouble, FindingText>;

export type FindingId = keyof typeof FINDINGS;
export const FINDING_IDS = Object.keys(FINDINGS) as [FindingId, ...FindingId[]];

/** One result. `about` tells apart several of one id: a browser, a reader. `seen` is what was seen, in plain words. */
export interface Finding {
  readonly id: FindingId;
  readonly state: FindingState;
  readonly about?: string | undefined;
  readonly seen: string;
}

/** What to do on this system; undefined where there is nothing to do. */
export function fixFor(id: FindingId, system: OperatingSystem): string | undefined {
  const fix: FindingText['fix'] = FINDINGS[id].fix;
  return fix[system] ?? fix.any;
}
