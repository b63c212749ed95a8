/** A reader as docs/apdu-hid.md describes it: what somebody would put on a microcontroller with an NFC front end. */
import { concatBytes, equalBytes, parseHex } from '#protocol/bytes.ts';
import { HidUsbDevice, takeOne } from './hid-usb-device.ts';
import { MessageAssembler, PACKET_BYTES, splitIntoPackets, TAG, twoBytes, uint16At } from './apdu-hid-packet.ts';
import { TerminalPcd } from './terminal-pcd.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { Found } from './terminal-pcd.ts';
import type { HidFirmware, HidIdentity, HidMisbehaviour, HidOutlet, HidReaderOptions } from './hid-usb-device.ts';

/** pid.codes' vendor id; the product id is of no allotted device: chosen. */
const IDENTITY: HidIdentity = { vendorId: 0x1209, productId: 0xa9d0, release: 0x0100, manufacturer: 'Kessai', product: 'APDU-HID card reader', serialNumber: 'AH000001' };
const REPORT_DESCRIPTOR = parseHex('06A0FF0901A101150026FF007508954009208102954009219102C0');
const GET_UID = parseHex('FFCA000000');
const OWN_CLASS = 0xff;
const MAX_ANSWER_BYTES = 258;
/** Answers that are not a card's: LEN 0, or one byte. */
const WORD = { NO_CARD: new Uint8Array(), MUTE: new Uint8Array([1]), SEVERAL: new Uint8Array([2]), NOT_ISO_DEP: new Uint8Array([3]), CANNOT: new Uint8Array([4]) } as const;
const OK = parseHex('9000');
const CLASS_NOT_SUPPORTED = parseHex('6E00');
const DEFAULT_CHANNEL = 0x0101;

export class ApduHidDevice extends HidUsbDevice {
  constructor(options: HidReaderOptions) {
    super(IDENTITY, REPORT_DESCRIPTOR, options, (outlet, misbehave) => new ApduHidFirmware(new TerminalPcd(options.field, options), outlet, misbehave));
  }
}

class ApduHidFirmware implements HidFirmware {
  readonly #pcd: TerminalPcd;
  readonly #outlet: HidOutlet;
  readonly #misbehave: HidMisbehaviour;
  readonly #messages = new MessageAssembler();
  /** The one allocated last; none yet at power-up. */
  #channel = 0;
  #tail: Promise<void> = Promise.resolve();

  constructor(pcd: TerminalPcd, outlet: HidOutlet, misbehave: HidMisbehaviour) {
    this.#pcd = pcd;
    this.#outlet = outlet;
    this.#misbehave = misbehave;
  }

  receive(packet: Bytes): void {
    if (packet.length !== PACKET_BYTES) return;
    const channel = uint16At(packet, 0);
    switch (packet[2] ?? -1) {
      case TAG.VERSION:
        this.#messages.drop();
        this.#reply(packet, new Uint8Array(4));
        return;
      case TAG.ALLOCATE:
        this.#allocate();
        this.#reply(packet, concatBytes(twoBytes(this.#channel), new Uint8Array(2)));
        return;
      case TAG.PING:
        this.#messages.drop();
        this.#reply(packet, new Uint8Array());
        return;
      case TAG.MESSAGE: {
        if (channel !== this.#channel) return;
        const message = this.#messages.push(packet);
        if (message !== undefined) this.#take(message);
        return;
      }
      default:
        this.#messages.drop();
    }
  }

  reset(): void {
    this.#endSession();
    this.#channel = 0;
  }

  #endSession(): void {
    this.#messages.drop();
    this.#pcd.off();
  }

  #allocate(): void {
    this.#endSession();
    do this.#channel = (this.#channel + 0x1235) & 0xffff;
    while (this.#channel === 0 || this.#channel === DEFAULT_CHANNEL);
  }

  /** The packet as it came, but for these bytes from the third on. */
  #reply(packet: Bytes, bytes: Bytes): void {
    const reply = packet.slice();
    reply.set(bytes, 3);
    if (takeOne(this.#misbehave, 'brokenAnswers')) reply[PACKET_BYTES - 1] = (reply[PACKET_BYTES - 1] ?? 0) ^ 0xff;
    this.#outlet.answer([reply]);
  }

  #take(message: Bytes): void {
    const channel = this.#channel;
    this.#tail = this.#tail.then(async () => {
      if (channel !== this.#channel) return;
      const answer = await this.#carryOut(message);
      if (channel === this.#channel) this.#answer(channel, answer);
    });
  }

  async #carryOut(command: Bytes): Promise<Bytes> {
    if (this.#misbehave.isTaken || command.length < 4) return WORD.CANNOT;
    if (equalBytes(command, GET_UID)) return this.#tellUid();
    if (command[0] === OWN_CLASS) return CLASS_NOT_SUPPORTED;
    const answer = await this.#pcd.exchange(command);
    // A host that is told of a card's silence knows that its session is over: the next look may activate anew.
    if (typeof answer === 'string') return answer === 'gone' ? WORD.NO_CARD : WORD.MUTE;
    return answer.length < 2 || answer.length > MAX_ANSWER_BYTES ? WORD.CANNOT : answer;
  }

  async #tellUid(): Promise<Bytes> {
    const active = this.#pcd.activeUid;
    if (active !== undefined) return (await this.#pcd.isPresent()) ? concatBytes(active, OK) : WORD.NO_CARD;
    return describeFound(await this.#pcd.find());
  }

  #answer(channel: number, answer: Bytes): void {
    const packets = splitIntoPackets(channel, answer);
    const [first] = packets;
    if (first !== undefined && takeOne(this.#misbehave, 'wrongNumbers')) first[4] = 0x07;
    if (first !== undefined && takeOne(this.#misbehave, 'brokenAnswers')) first.set([0xff, 0xff], 5);
    this.#outlet.answer(packets);
  }
}

function describeFound(found: Found): Bytes {
  if (found.kind === 'none') return WORD.NO_CARD;
  if (found.kind === 'several') return WORD.SEVERAL;
  return found.ats === undefined ? WORD.NOT_ISO_DEP : concatBytes(found.uid, OK);
}
