/** What a HID report descriptor says of its reports (HID 1.11, 6.2.2), as far as a host needs it to carry them. */
import type { Bytes } from '#protocol/bytes.ts';

export interface ReportDescription {
  readonly kind: 'input' | 'output' | 'feature';
  /** 0 where the device has no ids. */
  readonly id: number;
  /** Without the id. */
  readonly bytes: number;
}

export interface ReportDescriptor {
  /** Of the first collection, which is the only one of a reader. */
  readonly usagePage: number;
  readonly usage: number;
  readonly reports: readonly ReportDescription[];
}

/** Prefixes of items without their size bits (6.2.2.4 to 6.2.2.8). */
const ITEM = { USAGE_PAGE: 0x04, USAGE: 0x08, REPORT_SIZE: 0x74, INPUT: 0x80, REPORT_ID: 0x84, OUTPUT: 0x90, REPORT_COUNT: 0x94, COLLECTION: 0xa0, PUSH: 0xa4, FEATURE: 0xb0, POP: 0xb4, LONG: 0xfe } as const;
const KINDS = new Map<number, ReportDescription['kind']>([[ITEM.INPUT, 'input'], [ITEM.OUTPUT, 'output'], [ITEM.FEATURE, 'feature']]);

export function parseReportDescriptor(descriptor: Bytes): ReportDescriptor {
  const bitsOf = new Map<string, { readonly kind: ReportDescription['kind']; readonly id: number; bits: number }>();
  const stack: { page: number; size: number; count: number; id: number }[] = [];
  let global = { page: 0, size: 0, count: 0, id: 0 };
  let usage = 0;
  let collection: { usagePage: number; usage: number } | undefined;
  for (const { item, value } of itemsOf(descriptor)) {
    const kind = KINDS.get(item);
    if (kind !== undefined) {
      const report = bitsOf.get(`${kind} ${global.id}`) ?? { kind, id: global.id, bits: 0 };
      report.bits += global.size * global.count;
      bitsOf.set(`${kind} ${global.id}`, report);
    }
    if (item === ITEM.COLLECTION) collection ??= { usagePage: global.page, usage };
    if (item === ITEM.USAGE_PAGE) global.page = value;
    if (item === ITEM.USAGE) usage = value;
    if (item === ITEM.REPORT_SIZE) global.size = value;
    if (item === ITEM.REPORT_COUNT) global.count = value;
    if (item === ITEM.REPORT_ID) global.id = value;
    if (item === ITEM.PUSH) stack.push({ ...global });
    if (item === ITEM.POP) global = stack.pop() ?? global;
  }
  const reports = [...bitsOf.values()].map(({ kind, id, bits }) => ({ kind, id, bytes: Math.ceil(bits / 8) }));
  return { usagePage: 0, usage: 0, ...collection, reports };
}

/** In bytes, its id included where the device has ids: what a host must be ready to take. */
export function longestInputReport(descriptor: Bytes): number {
  const inputs = parseReportDescriptor(descriptor).reports.filter(({ kind }) => kind === 'input');
  return Math.max(0, ...inputs.map(({ id, bytes }) => bytes + (id === 0 ? 0 : 1)));
}

function* itemsOf(descriptor: Bytes): Generator<{ item: number; value: number }> {
  for (let at = 0; at < descriptor.length; ) {
    const prefix = descriptor[at] ?? 0;
    const isLong = prefix === ITEM.LONG;
    const length = isLong ? 2 + (descriptor[at + 1] ?? 0) : ([0, 1, 2, 4][prefix & 3] ?? 0);
    const value = descriptor.subarray(at + 1, at + 1 + length).reduceRight((sum, byte) => sum * 256 + byte, 0);
    yield { item: isLong ? prefix : prefix & 0xfc, value };
    at += 1 + length;
  }
}
