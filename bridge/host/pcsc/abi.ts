/** How PC/SC's C types differ between pcsc-lite, macOS and Windows: one row a platform, and the structures built from it. */
import type { TypeObject } from 'koffi';
import { loadKoffi } from './koffi.ts';

export interface PcscAbi {
  /** Tried in order. */
  readonly libraries: readonly string[];
  readonly convention: '' | '__stdcall';
  /** LONG of the return value and DWORD: pcsc-lite follows C's long, so 8 bytes on a 64-bit Linux; macOS and Windows have 4 everywhere. */
  readonly long: string;
  readonly dword: string;
  /** SCARDCONTEXT and SCARDHANDLE. */
  readonly handle: string;
  /** Room for an ATR in SCARD_READERSTATE. */
  readonly atrBytes: number;
  /** macOS packs the structure (#pragma pack(1) in its pcsclite.h). */
  readonly packed: boolean;
  /** Windows is called through its wide functions, whose names end in W. */
  readonly wide: boolean;
  /** Whether SCardGetStatusChange tells about readers that come and go. */
  readonly pnp: boolean;
  /** Whether the service can take a reader for empty on which a card lies (pcsc-lite 1.9.9; see forgotten-card.ts). */
  readonly forgetsCards: boolean;
}

export const PCSC_ABI = {
  linux: { libraries: ['libpcsclite.so.1', 'libpcsclite.so'], convention: '', long: 'long', dword: 'ulong', handle: 'long', atrBytes: 33, packed: false, wide: false, pnp: true, forgetsCards: true },
  darwin: { libraries: ['/System/Library/Frameworks/PCSC.framework/PCSC'], convention: '', long: 'int32', dword: 'uint32', handle: 'int32', atrBytes: 33, packed: true, wide: false, pnp: false, forgetsCards: false },
  win32: { libraries: ['winscard.dll'], convention: '__stdcall', long: 'int32', dword: 'uint32', handle: 'uintptr_t', atrBytes: 36, packed: false, wide: true, pnp: true, forgetsCards: false },
} as const satisfies Record<string, PcscAbi>;

export function abiOfThisPlatform(platform: NodeJS.Platform = process.platform): PcscAbi {
  if (platform === 'darwin' || platform === 'win32') return PCSC_ABI[platform];
  // The BSDs use pcsc-lite too.
  return PCSC_ABI.linux;
}

/** SCARD_READERSTATE; `dword` may be given by the name of a fixed width to lay out a foreign platform's in a test. */
export function readerStateType(abi: PcscAbi): TypeObject {
  const koffi = loadKoffi();
  const members = {
    szReader: abi.wide ? 'const char16_t *' : 'const char *',
    pvUserData: 'void *',
    dwCurrentState: abi.dword,
    dwEventState: abi.dword,
    cbAtr: abi.dword,
    rgbAtr: koffi.array('uint8_t', abi.atrBytes, 'Typed'),
  };
  return abi.packed ? koffi.pack(members) : koffi.struct(members);
}

/** SCARD_IO_REQUEST: which protocol (T=0 or T=1) the connection speaks. */
export function ioRequestType(abi: PcscAbi): TypeObject {
  return loadKoffi().struct({ dwProtocol: abi.dword, cbPciLength: abi.dword });
}

/** The names of a multi-string: each ended by a zero, the list by another. */
export function parseMultiString(bytes: Buffer, wide: boolean): string[] {
  return bytes.toString(wide ? 'utf16le' : 'utf8').split('\0').filter((name) => name !== '');
}
