/** What a browser learns from a device's descriptors: interfaces and endpoints of a configuration (USB 2.0, 9.6), collections of a report descriptor (HID 1.11, 6.2.2). */

export interface EndpointDescriptor {
  readonly endpointNumber: number;
  readonly direction: 'in' | 'out';
  readonly type: 'bulk' | 'interrupt';
  readonly packetSize: number;
}

export interface InterfaceDescriptor {
  readonly interfaceNumber: number;
  readonly interfaceClass: number;
  readonly endpoints: readonly EndpointDescriptor[];
}

const DESCRIPTOR = { interface: 4, endpoint: 5 } as const;

export function parseConfiguration(configuration: Uint8Array): InterfaceDescriptor[] {
  const interfaces: { interfaceNumber: number; interfaceClass: number; endpoints: EndpointDescriptor[] }[] = [];
  for (let offset = 0; offset < configuration.length; offset += configuration[offset] || configuration.length) {
    const [, type, number = 0, attributes = 0, sizeLow = 0, sizeHigh = 0] = configuration.subarray(offset);
    if (type === DESCRIPTOR.interface) {
      interfaces.push({ interfaceNumber: number, interfaceClass: sizeHigh, endpoints: [] });
    } else if (type === DESCRIPTOR.endpoint) {
      interfaces.at(-1)?.endpoints.push({ endpointNumber: number & 0x0f, direction: number & 0x80 ? 'in' : 'out', type: (attributes & 3) === 2 ? 'bulk' : 'interrupt', packetSize: sizeLow | (sizeHigh << 8) });
    }
  }
  return interfaces;
}

export interface ReportDescriptor {
  readonly reportId: number;
  readonly bytes: number;
}

export interface CollectionDescriptor {
  readonly usagePage: number;
  readonly usage: number;
  readonly inputReports: readonly ReportDescriptor[];
  readonly outputReports: readonly ReportDescriptor[];
}

/** Item prefixes without their size bits. */
const ITEM = { usagePage: 0x04, usage: 0x08, input: 0x80, output: 0x90, collection: 0xa0, reportSize: 0x74, reportId: 0x84, reportCount: 0x94 } as const;

/** Of a descriptor with one application collection, as readers have. */
export function parseReportDescriptor(descriptor: Uint8Array): CollectionDescriptor {
  const inputReports: ReportDescriptor[] = [];
  const outputReports: ReportDescriptor[] = [];
  const [collection, present] = [{ usagePage: 0, usage: 0 }, { usagePage: 0, usage: 0, reportSize: 0, reportId: 0, reportCount: 0 }];
  for (let offset = 0; offset < descriptor.length; ) {
    const prefix = descriptor[offset] ?? 0;
    const size = [0, 1, 2, 4][prefix & 3] ?? 0;
    const value = descriptor.subarray(offset + 1, offset + 1 + size).reduceRight((sum, byte) => sum * 256 + byte, 0);
    offset += 1 + size;
    const report = { reportId: present.reportId, bytes: (present.reportSize * present.reportCount) / 8 };
    switch (prefix & 0xfc) {
      case ITEM.usagePage:
        present.usagePage = value;
        break;
      case ITEM.usage:
        present.usage = value;
        break;
      case ITEM.reportSize:
        present.reportSize = value;
        break;
      case ITEM.reportId:
        present.reportId = value;
        break;
      case ITEM.reportCount:
        present.reportCount = value;
        break;
      case ITEM.collection:
        if (collection.usagePage === 0) Object.assign(collection, { usagePage: present.usagePage, usage: present.usage });
        break;
      case ITEM.input:
        inputReports.push(report);
        break;
      case ITEM.output:
        outputReports.push(report);
        break;
    }
  }
  return { ...collection, inputReports, outputReports };
}
