import koffi from 'koffi';
import { describe, expect, test } from 'vitest';
import { abiOfThisPlatform, ioRequestType, parseMultiString, PCSC_ABI, readerStateType } from './abi.ts';

describe('the C types of PC/SC', () => {
  // Sizes and offsets as the platforms' own headers lay them out on 64 bits: pcsclite.h (pcsc-lite), pcsclite.h (macOS, pack 1), winscard.h.
  test.each([
    ['linux', { ...PCSC_ABI.linux, dword: 'uint64' }, 80, { pvUserData: 8, dwCurrentState: 16, dwEventState: 24, cbAtr: 32, rgbAtr: 40 }, 16],
    ['darwin', PCSC_ABI.darwin, 61, { pvUserData: 8, dwCurrentState: 16, dwEventState: 20, cbAtr: 24, rgbAtr: 28 }, 8],
    ['win32', PCSC_ABI.win32, 64, { pvUserData: 8, dwCurrentState: 16, dwEventState: 20, cbAtr: 24, rgbAtr: 28 }, 8],
  ] as const)('SCARD_READERSTATE and SCARD_IO_REQUEST of %s', (_, abi, size, offsets, ioRequestSize) => {
    const type = readerStateType(abi);
    expect(koffi.sizeof(type)).toBe(size);
    expect(Object.fromEntries(Object.keys(offsets).map((member) => [member, koffi.offsetof(type, member)]))).toEqual(offsets);
    expect(koffi.sizeof(ioRequestType(abi))).toBe(ioRequestSize);
  });

  test('the platform chooses its row', () => {
    expect(abiOfThisPlatform('linux')).toBe(PCSC_ABI.linux);
    expect(abiOfThisPlatform('darwin')).toBe(PCSC_ABI.darwin);
    expect(abiOfThisPlatform('win32')).toBe(PCSC_ABI.win32);
    expect(abiOfThisPlatform('freebsd')).toBe(PCSC_ABI.linux);
  });

  test.each([
    [false, Buffer.from('Reader A 00 00\0Reader B\0\0\0\0\0', 'utf8')],
    [true, Buffer.from('Reader A 00 00\0Reader B\0\0\0\0\0', 'utf16le')],
  ])('a list of names ends at the empty one (wide: %s)', (wide, bytes) => {
    expect(parseMultiString(bytes, wide)).toEqual(['Reader A 00 00', 'Reader B']);
    expect(parseMultiString(Buffer.alloc(4), wide)).toEqual([]);
  });
});
