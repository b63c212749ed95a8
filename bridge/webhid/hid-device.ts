/** The part of WebHID (WICG, section 6) that our drivers use: Chromium's devices are such, and so are emulated ones in tests. */
export interface HidDevice {
  readonly vendorId: number;
  readonly productId: number;
  readonly productName: string;
  readonly opened: boolean;
  readonly collections: readonly HidCollection[];
  open(): Promise<void>;
  close(): Promise<void>;
  sendReport(reportId: number, data: BufferSource): Promise<void>;
  addEventListener(type: 'inputreport', listener: (event: HidInputReport) => void): void;
  removeEventListener(type: 'inputreport', listener: (event: HidInputReport) => void): void;
}

export interface HidCollection {
  readonly usagePage?: number | undefined;
  readonly usage?: number | undefined;
  readonly outputReports?: readonly { readonly reportId?: number | undefined; readonly items?: readonly { readonly reportSize?: number | undefined; readonly reportCount?: number | undefined }[] | undefined }[] | undefined;
}

export interface HidInputReport {
  readonly reportId: number;
  readonly data: DataView;
}
