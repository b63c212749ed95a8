/** Native instruction codes and status words of DESFire Light, EV2 and EV3, named as the data sheet (MF2DL(H)x0) names them. */

export const INS = {
  AuthenticateEV2First: 0x71,
  AdditionalFrame: 0xaf,
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
} as const;

/** Status words as they cross the bridge; a native status is wrapped as 91 SS. */
export const SW = {
  IsoOk: 0x9000,
  Ok: 0x9100,
  AdditionalFrame: 0x91af,
  AuthenticationError: 0x91ae,
  BoundaryError: 0x91be,
} as const;
