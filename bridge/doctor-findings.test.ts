import { describe, expect, test } from 'vitest';
import { FINDING_IDS, FINDINGS, fixFor } from './doctor-findings.ts';
import { KNOWN_READERS, type KnownTrouble, type OperatingSystem } from './reader-registry.ts';
import { rulesFor, udevRules } from './udev-rules.ts';

describe('the table of findings', () => {
  const known = KNOWN_READERS.flatMap(({ troubles }) =>
    (Object.entries(troubles) as [OperatingSystem, readonly KnownTrouble[]][]).flatMap(([system, list]) => list.map((trouble) => [system, trouble] as const)),
  );
  test.each(known)('says what to do on %s about %s, which a known reader has there', (system, trouble) => {
    expect(fixFor(trouble, system)).toMatch(/^[A-Z].{20,}[.:]/s);
  });

  test.each(FINDING_IDS)('%s is a sentence to a person: a title and ways out without emoji', (id) => {
    for (const text of [FINDINGS[id].title, ...Object.values(FINDINGS[id].fix)]) expect(text).toMatch(/^[\x20-\x7e]{5,600}$/);
  });

  test("a system's own words come before those for any", () => {
    expect(fixFor('pcsc-reader', 'linux')).toContain('libccid');
    expect(fixFor('pcsc-reader', 'windows')).toContain('maker');
    expect(fixFor('port100', 'windows')).toBeUndefined();
  });
});

describe('the udev rules', () => {
  test('name each product of a USB reader, and the hidraw nodes of a HID reader by vendor', () => {
    expect(udevRules()).toContain('SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{idVendor}=="054c", ATTR{idProduct}=="0dc8", TAG+="uaccess"\n');
    expect(udevRules()).toContain('KERNEL=="hidraw*", SUBSYSTEM=="hidraw", ATTRS{idVendor}=="0acd", TAG+="uaccess"\n');
    expect(udevRules()).toContain('ATTRS{idVendor}=="0801", ATTRS{idProduct}=="2023", TAG+="uaccess"\n');
  });

  test('leave CCID readers to the PC/SC service', () => {
    expect(udevRules()).not.toContain('072f');
  });

  test('have a line for every reader that the browser opens and whose vendor is known', () => {
    for (const reader of KNOWN_READERS) expect(rulesFor(reader).length > 0, reader.title).toBe(reader.road !== 'native' && reader.vendorId !== undefined);
  });
});
