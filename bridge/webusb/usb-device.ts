/** The part of WebUSB (WICG, section 6) that our drivers use: Chromium's devices are such, and so are emulated ones in tests. */
export type UsbDevice = Pick<
  USBDevice,
  | 'vendorId'
  | 'productId'
  | 'manufacturerName'
  | 'productName'
  | 'serialNumber'
  | 'opened'
  | 'configuration'
  | 'open'
  | 'close'
  | 'selectConfiguration'
  | 'claimInterface'
  | 'releaseInterface'
  | 'transferIn'
  | 'transferOut'
  | 'clearHalt'
>;
