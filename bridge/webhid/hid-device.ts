/** The part of WebHID (WICG, section 6) that our drivers use: Chromium's devices are such, and so are emulated ones in tests. */
export interface HidDevice extends Pick<HIDDevice, 'vendorId' | 'productId' | 'productName' | 'collections' | 'opened' | 'open' | 'close' | 'sendReport'> {
  addEventListener(type: 'inputreport', listener: (event: HidInputReport) => void): void;
  removeEventListener(type: 'inputreport', listener: (event: HidInputReport) => void): void;
}

export type HidInputReport = Pick<HIDInputReportEvent, 'reportId' | 'data'>;
