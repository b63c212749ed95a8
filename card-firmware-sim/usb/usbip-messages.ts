/** The messages of USB/IP 1.1.1 (Linux, Documentation/usb/usbip_protocol.rst): codec and stream cutting, all integers big-endian. Refuses whatever is not in the document. */
import { concatBytes } from '#protocol/bytes.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { UsbSetup } from './usb-device.ts';

export const USBIP_VERSION = 0x0111;
const OP = { REQ_DEVLIST: 0x8005, REP_DEVLIST: 0x0005, REQ_IMPORT: 0x8003, REP_IMPORT: 0x0003 } as const;
const COMMAND = { SUBMIT: 1, UNLINK: 2, RET_SUBMIT: 3, RET_UNLINK: 4 } as const;
const OP_HEADER_BYTES = 8;
const BUS_ID_BYTES = 32;
const PATH_BYTES = 256;
export const URB_HEADER_BYTES = 48;
/** A transfer's length is the importer's word: bound it before allocating. */
export const MAX_TRANSFER_BYTES = 1 << 20;
/** number_of_packets of what is not isochronous: -1, or 0 from older kernels. */
const NO_PACKETS = 0xffffffff;

export interface SubmitMessage {
  readonly kind: 'submit';
  readonly sequence: number;
  readonly deviceId: number;
  readonly direction: 'in' | 'out';
  readonly endpoint: number;
  readonly flags: number;
  /** Bytes that the importer takes (in) or sends (out). */
  readonly length: number;
  readonly setup: UsbSetup;
  /** What is sent out; empty for in. */
  readonly data: Bytes;
}

export interface UnlinkMessage {
  readonly kind: 'unlink';
  readonly sequence: number;
  readonly unlinkSequence: number;
}

export type UsbIpRequest = { readonly kind: 'devlist' } | { readonly kind: 'import'; readonly busId: string } | SubmitMessage | UnlinkMessage;

/** What a list of devices says of one. */
export interface UsbIpDevice {
  readonly busId: string;
  readonly busNumber: number;
  readonly deviceNumber: number;
  readonly speed: number;
  /** The 18 bytes. */
  readonly device: Bytes;
  readonly configurationValue: number;
  /** Class, subclass and protocol of each interface. */
  readonly interfaces: readonly (readonly [number, number, number])[];
}

export class UsbIpFormatError extends Error {}

/** Cuts what an importer sends into its messages, wherever the stream was cut. After an import the rest of it are transfers. Throws UsbIpFormatError, once what came before is taken. */
export class UsbIpRequestStream {
  #received: Bytes = new Uint8Array();
  #isImported = false;

  *push(chunk: Uint8Array): Generator<UsbIpRequest> {
    this.#received = concatBytes(this.#received, chunk);
    for (;;) {
      const cut = this.#isImported ? cutUrb(this.#received) : cutOp(this.#received);
      if (cut === undefined) return;
      this.#received = this.#received.slice(cut.bytes);
      if (cut.request.kind === 'import') this.#isImported = true;
      yield cut.request;
    }
  }
}

interface Cut {
  readonly request: UsbIpRequest;
  readonly bytes: number;
}

function view(bytes: Bytes): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function cutOp(received: Bytes): Cut | undefined {
  if (received.length < OP_HEADER_BYTES) return undefined;
  const header = view(received);
  if (header.getUint16(0) !== USBIP_VERSION) throw new UsbIpFormatError('another version of USB/IP');
  const code = header.getUint16(2);
  if (code === OP.REQ_DEVLIST) return { request: { kind: 'devlist' }, bytes: OP_HEADER_BYTES };
  if (code !== OP.REQ_IMPORT) throw new UsbIpFormatError('neither a list nor an import');
  const bytes = OP_HEADER_BYTES + BUS_ID_BYTES;
  if (received.length < bytes) return undefined;
  return { request: { kind: 'import', busId: parseText(received.subarray(OP_HEADER_BYTES, bytes)) }, bytes };
}

function cutUrb(received: Bytes): Cut | undefined {
  if (received.length < URB_HEADER_BYTES) return undefined;
  const header = view(received);
  const command = header.getUint32(0);
  const sequence = header.getUint32(4);
  if (command === COMMAND.UNLINK) {
    return { request: { kind: 'unlink', sequence, unlinkSequence: header.getUint32(0x14) }, bytes: URB_HEADER_BYTES };
  }
  if (command !== COMMAND.SUBMIT) throw new UsbIpFormatError('neither a transfer nor its withdrawal');
  const direction = header.getUint32(12);
  const endpoint = header.getUint32(16);
  const length = header.getUint32(0x18);
  const packets = header.getUint32(0x20);
  if (direction > 1 || endpoint > 15) throw new UsbIpFormatError('no such endpoint');
  if (length > MAX_TRANSFER_BYTES) throw new UsbIpFormatError('transfer too long');
  if (packets !== NO_PACKETS && packets !== 0) throw new UsbIpFormatError('isochronous transfers are not served');
  const bytes = URB_HEADER_BYTES + (direction === 0 ? length : 0);
  if (received.length < bytes) return undefined;
  const request: SubmitMessage = {
    kind: 'submit', sequence, deviceId: header.getUint32(8), direction: direction === 0 ? 'out' : 'in', endpoint,
    flags: header.getUint32(0x14), length, setup: parseSetup(received.subarray(0x28, 0x30)), data: received.slice(URB_HEADER_BYTES, bytes),
  };
  return { request, bytes };
}

/** The 8 bytes of a control transfer: little-endian, as on the bus (USB 2.0, 9.3). */
export function parseSetup(bytes: Bytes): UsbSetup {
  const setup = view(bytes);
  return {
    requestType: setup.getUint8(0), request: setup.getUint8(1),
    value: setup.getUint16(2, true), index: setup.getUint16(4, true), length: setup.getUint16(6, true),
  };
}

export function encodeSetup(setup: UsbSetup): Bytes {
  const bytes = new Uint8Array(8);
  const out = view(bytes);
  out.setUint8(0, setup.requestType);
  out.setUint8(1, setup.request);
  out.setUint16(2, setup.value, true);
  out.setUint16(4, setup.index, true);
  out.setUint16(6, setup.length, true);
  return bytes;
}

function parseText(bytes: Bytes): string {
  const end = bytes.indexOf(0);
  const text = new TextDecoder('latin1').decode(bytes.subarray(0, end === -1 ? bytes.length : end));
  if (!/^[\w.:-]+$/.test(text)) throw new UsbIpFormatError('no bus id');
  return text;
}

function encodeText(text: string, length: number): Bytes {
  const bytes = new Uint8Array(length);
  const result = new TextEncoder().encodeInto(text, bytes.subarray(0, length - 1));
  if (result.read !== text.length) throw new RangeError(`"${text}" does not fit in ${length} bytes`);
  return bytes;
}

export function encodeRequest(request: UsbIpRequest): Bytes {
  if (request.kind === 'devlist') return opHeader(OP.REQ_DEVLIST, 0);
  if (request.kind === 'import') return concatBytes(opHeader(OP.REQ_IMPORT, 0), encodeText(request.busId, BUS_ID_BYTES));
  const bytes = new Uint8Array(URB_HEADER_BYTES);
  const header = view(bytes);
  header.setUint32(4, request.sequence);
  if (request.kind === 'unlink') {
    header.setUint32(0, COMMAND.UNLINK);
    header.setUint32(0x14, request.unlinkSequence);
    return bytes;
  }
  header.setUint32(0, COMMAND.SUBMIT);
  header.setUint32(8, request.deviceId);
  header.setUint32(12, request.direction === 'in' ? 1 : 0);
  header.setUint32(16, request.endpoint);
  header.setUint32(0x14, request.flags);
  header.setUint32(0x18, request.length);
  header.setUint32(0x20, NO_PACKETS);
  bytes.set(encodeSetup(request.setup), 0x28);
  return concatBytes(bytes, request.data);
}

export function encodeDeviceList(devices: readonly UsbIpDevice[]): Bytes {
  const count = new Uint8Array(4);
  view(count).setUint32(0, devices.length);
  const entries = devices.map((device) => concatBytes(deviceBlock(device), ...device.interfaces.map((triple) => new Uint8Array([...triple, 0]))));
  return concatBytes(opHeader(OP.REP_DEVLIST, 0), count, ...entries);
}

/** undefined: no such device, or another importer has it. */
export function encodeImportReply(device: UsbIpDevice | undefined): Bytes {
  return device === undefined ? opHeader(OP.REP_IMPORT, 1) : concatBytes(opHeader(OP.REP_IMPORT, 0), deviceBlock(device));
}

function opHeader(code: number, status: number): Bytes {
  const bytes = new Uint8Array(OP_HEADER_BYTES);
  view(bytes).setUint16(0, USBIP_VERSION);
  view(bytes).setUint16(2, code);
  view(bytes).setUint32(4, status);
  return bytes;
}

/** 312 bytes. */
function deviceBlock(entry: UsbIpDevice): Bytes {
  const numbers = new Uint8Array(24);
  const out = view(numbers);
  const descriptor = view(entry.device);
  out.setUint32(0, entry.busNumber);
  out.setUint32(4, entry.deviceNumber);
  out.setUint32(8, entry.speed);
  // idVendor, idProduct, bcdDevice: little-endian in the descriptor (USB 2.0, 9.6.1).
  for (const [i, at] of [8, 10, 12].entries()) out.setUint16(12 + 2 * i, descriptor.getUint16(at, true));
  numbers.set(entry.device.subarray(4, 7), 18);
  out.setUint8(21, entry.configurationValue);
  out.setUint8(22, entry.device[17] ?? 1);
  out.setUint8(23, entry.interfaces.length);
  return concatBytes(encodeText(`/sys/devices/kessai/usb${entry.busNumber}/${entry.busId}`, PATH_BYTES), encodeText(entry.busId, BUS_ID_BYTES), numbers);
}

/** `status`: 0 or a negative errno. `actualLength`: bytes taken (out) or sent here (in). */
export function encodeSubmitReply(sequence: number, status: number, actualLength: number, data: Bytes): Bytes {
  const bytes = new Uint8Array(URB_HEADER_BYTES);
  const header = view(bytes);
  header.setUint32(0, COMMAND.RET_SUBMIT);
  header.setUint32(4, sequence);
  header.setInt32(0x14, status);
  header.setUint32(0x18, actualLength);
  header.setUint32(0x20, NO_PACKETS);
  return concatBytes(bytes, data);
}

export function encodeUnlinkReply(sequence: number, status: number): Bytes {
  const bytes = new Uint8Array(URB_HEADER_BYTES);
  const header = view(bytes);
  header.setUint32(0, COMMAND.RET_UNLINK);
  header.setUint32(4, sequence);
  header.setInt32(0x14, status);
  return bytes;
}
