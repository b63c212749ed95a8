/** Native instruction codes and status words of DESFire Light, EV2 and EV3, named as the data sheet (MF2DL(H)x0) names them. */

export const INS = {
  AuthenticateISO: 0x1a,
  AuthenticateEV2First: 0x71,
  AdditionalFrame: 0xaf,
  GetVersion: 0x60,
  GetCardUID: 0x51,
  GetFileIDs: 0x6f,
  GetFileSettings: 0xf5,
  ChangeFileSettings: 0x5f,
  GetKeyVersion: 0x64,
  ChangeKey: 0xc4,
  SetConfiguration: 0x5c,
  GetValue: 0x6c,
  Credit: 0x0c,
  Debit: 0xdc,
  ReadData: 0xad,
  ReadRecords: 0xab,
  WriteRecord: 0x8b,
  CommitTransaction: 0xc7,
  CommitReaderID: 0xc8,
  CreateTransactionMACFile: 0xce,
  DeleteFile: 0xdf,
  SelectApplication: 0x5a,
  ChangeKeySettings: 0x54,
  CreateApplication: 0xca,
  CreateValueFile: 0xcc,
  CreateCyclicRecordFile: 0xc0,
} as const;

/** Status words as they cross the bridge; a native status is wrapped as 91 SS. */
export const SW = {
  IsoOk: 0x9000,
  Ok: 0x9100,
  AdditionalFrame: 0x91af,
  AuthenticationError: 0x91ae,
  BoundaryError: 0x91be,
  OutOfMemory: 0x910e,
  Duplicate: 0x91de,
} as const;
