/** What the samples of all readers say: medians, counts, and each time beside the quickest reader's. */
import type { AirExchange } from '#card-firmware-sim/timing/air.ts';
import { TALLY_MODEL, tallyOf, type AirTally } from './readers-air.ts';
import type { Road, RoadKind } from './readers-roads.ts';
import { USB_TALLY_KEYS, type UsbTally } from './readers-usb.ts';
import { median, quantile, roundMs, summarize, type Summary } from './statistics.ts';

/** One payment's part at the card. */
export interface CardPart {
  /** From the page's readers being opened to the card being open. */
  readonly findMs: number;
  /** In the channel's calls, summed. */
  readonly transmitMs: number;
  /** Of it, in the simulated chip: its software, no silicon. */
  readonly chipMs: number;
  /** Of it, the SPC: the batch that debits. */
  readonly debitMs: number;
  readonly batches: number;
  readonly commands: number;
  readonly usb: { readonly find: UsbTally; readonly payment: UsbTally } | null;
  /** Where there is no air: what the same commands would need. */
  readonly air: { readonly find: readonly AirExchange[] | null; readonly payment: readonly AirExchange[] };
}

export interface RoadSamples {
  readonly road: Road;
  readonly singlesMs: number[];
  readonly batchesMs: number[];
  readonly payments: CardPart[];
}

interface Times extends Summary {
  readonly p95Ms: number;
  /** Median, to that of the quickest reader. */
  readonly ratio: number;
}

export interface ReaderFigures {
  readonly reader: RoadKind;
  /** The transfers that its driver uses, or the native host. */
  readonly carriedBy: string;
  readonly command: Times;
  readonly batchOfFour: Times;
  readonly payment: {
    readonly payments: number;
    readonly batches: number;
    readonly commands: number;
    readonly transmit: Times;
    /** Of it, in the simulated chip. */
    readonly chip: Summary;
    /** The rest: what the road costs. */
    readonly road: Times;
    readonly debit: Times;
    readonly findCard: Times;
  };
  /** Medians of the payments; null: no emulated device on this road. */
  readonly usb: { readonly findCard: UsbTally; readonly payment: UsbTally } | null;
  readonly air: {
    /** False: no air on this road, the same commands would need this. */
    readonly counted: boolean;
    readonly findCard: AirTally | null;
    readonly payment: AirTally;
  };
  /** What the road costs and the modelled air: the least with a real card, whose own work comes on top. */
  readonly paymentWithAir: { readonly medianMs: number; readonly ratio: number };
}

export function figuresOf({ road: { kind, counted }, singlesMs, batchesMs, payments }: RoadSamples): ReaderFigures {
  const of = (value: (part: CardPart) => number): Times => times(payments.map(value));
  const road = of(({ transmitMs, chipMs }) => transmitMs - chipMs);
  const air = medianAir(payments.map((part) => tallyOf(part.air.payment)));
  const usbOf = (phase: 'find' | 'payment'): UsbTally => medianOfEach(payments.flatMap(({ usb }) => (usb === null ? [] : [usb[phase]])), USB_TALLY_KEYS);
  return {
    reader: kind,
    carriedBy: counted === null ? 'native host' : `${[...counted.device.usedTypes].join(' and ')} transfers`,
    command: times(singlesMs),
    batchOfFour: times(batchesMs),
    payment: {
      payments: payments.length,
      batches: median(payments.map(({ batches }) => batches)),
      commands: median(payments.map(({ commands }) => commands)),
      transmit: of(({ transmitMs }) => transmitMs),
      chip: summarize(payments.map(({ chipMs }) => chipMs)),
      road,
      debit: of(({ debitMs }) => debitMs),
      findCard: of(({ findMs }) => findMs),
    },
    usb: counted === null ? null : { findCard: usbOf('find'), payment: usbOf('payment') },
    air: {
      counted: counted !== null,
      findCard: counted === null ? null : medianAir(payments.flatMap((part) => (part.air.find === null ? [] : [tallyOf(part.air.find)]))),
      payment: air,
    },
    paymentWithAir: { medianMs: roundMs(road.medianMs + air.modelledMs), ratio: NaN },
  };
}

/** To the quickest of these. */
export function withRatios(readers: readonly ReaderFigures[]): ReaderFigures[] {
  const least = (value: (reader: ReaderFigures) => { readonly medianMs: number }): number => Math.min(...readers.map((reader) => value(reader).medianMs));
  const leasts = {
    command: least(({ command }) => command),
    batchOfFour: least(({ batchOfFour }) => batchOfFour),
    transmit: least(({ payment }) => payment.transmit),
    road: least(({ payment }) => payment.road),
    debit: least(({ payment }) => payment.debit),
    findCard: least(({ payment }) => payment.findCard),
    paymentWithAir: least(({ paymentWithAir }) => paymentWithAir),
  };
  const beside = <T extends { readonly medianMs: number }>(value: T, leastMs: number): T & { ratio: number } => ({ ...value, ratio: roundMs(value.medianMs / leastMs) });
  return readers.map((reader) => ({
    ...reader,
    command: beside(reader.command, leasts.command),
    batchOfFour: beside(reader.batchOfFour, leasts.batchOfFour),
    payment: {
      ...reader.payment,
      transmit: beside(reader.payment.transmit, leasts.transmit),
      road: beside(reader.payment.road, leasts.road),
      debit: beside(reader.payment.debit, leasts.debit),
      findCard: beside(reader.payment.findCard, leasts.findCard),
    },
    paymentWithAir: beside(reader.paymentWithAir, leasts.paymentWithAir),
  }));
}

function times(valuesMs: readonly number[]): Times {
  return { ...summarize(valuesMs), p95Ms: quantile(valuesMs, 0.95), ratio: NaN };
}

function medianOfEach<K extends string>(tallies: readonly Readonly<Record<K, number>>[], keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, median(tallies.map((tally) => tally[key]))])) as Record<K, number>;
}

function medianAir(tallies: readonly AirTally[]): AirTally {
  return medianOfEach(tallies, ['framesOut', 'framesIn', 'bytesOut', 'bytesIn', 'modelledMs']);
}

/** For a person. */
export function describeReaders(readers: readonly ReaderFigures[]): string {
  const ms = ({ medianMs, p95Ms, ratio }: Times): string => `${medianMs.toFixed(1)} (p95 ${p95Ms.toFixed(1)}, x${ratio.toFixed(2)})`;
  const usb = ({ control, out, in: received, bytesOut, bytesIn }: UsbTally): string => `${control} control, ${out} out, ${received} in, ${bytesOut} + ${bytesIn} bytes`;
  const air = ({ framesOut, framesIn, bytesOut, bytesIn, modelledMs }: AirTally): string => `${framesOut} + ${framesIn} frames, ${bytesOut} + ${bytesIn} bytes, ${modelledMs.toFixed(1)} ms`;
  return [
    ...readers.flatMap((reader) => [
      `${reader.reader} (${reader.carriedBy}), milliseconds, ratio to the quickest reader:`,
      `  a command ${ms(reader.command)}; four in a batch ${ms(reader.batchOfFour)}`,
      `  a payment, ${reader.payment.batches} batches, ${reader.payment.commands} commands: ${ms(reader.payment.transmit)}; without the ${reader.payment.chip.medianMs.toFixed(1)} in the simulated chip ${ms(reader.payment.road)}; the debit ${ms(reader.payment.debit)}`,
      `  finding and opening the card ${ms(reader.payment.findCard)}`,
      ...(reader.usb === null ? [] : [`  USB, finding the card: ${usb(reader.usb.findCard)}`, `  USB, the payment: ${usb(reader.usb.payment)}`]),
      ...(reader.air.findCard === null ? [] : [`  air, finding the card: ${air(reader.air.findCard)}`]),
      `  air, the payment${reader.air.counted ? '' : ' (there is none here; the same commands would need)'}: ${air(reader.air.payment)}; road and air together ${reader.paymentWithAir.medianMs.toFixed(1)} (x${reader.paymentWithAir.ratio.toFixed(2)})`,
    ]),
    `Air time is a model: ${TALLY_MODEL}.`,
  ].join('\n');
}
