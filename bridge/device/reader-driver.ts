/** What a driver of one reader family must do, whatever bus carries it; everything above it is the same for all of them. */
import type { Bytes } from '#protocol/bytes.ts';

/**
 * One connected reader. Its functions are called one at a time, never two at once; `close` alone may be called at any time.
 * Every wait inside has a limit of its own: neither WebUSB nor WebHID has one.
 */
export interface ReaderDriver {
  /** What a person calls the reader, for example "SONY RC-S300/S (FeliCa Port/PaSoRi 4.0)". */
  readonly readerName: string;
  /**
   * Takes the reader for us and brings it to a known state, whatever an earlier user left behind. Fails with `reader/permission`
   * (the system does not let the browser open it), `reader/driver` (another driver of the system has it), `reader/in-use`
   * (another program, or another page of ours, has it), `reader/failed` (it answers nonsense or not at all).
   */
  open(): Promise<void>;
  /**
   * Looks once for a card and makes it ready for commands (ISO/IEC 14443-3 and -4); undefined: nothing lies there.
   * Takes well below a second. Fails with `reader/failed`, `reader/in-use`; `card/several` (more than one card in the field),
   * `card/unsupported` (a card that takes no commands), `card/silent` (something answered once and not again).
   */
  findCard(): Promise<CardInField | undefined>;
  /** Field off, reader given back; ends what is under way, which then fails with `reader/failed`. Never throws; safe to call twice. */
  close(): Promise<void>;
}

/** A card that was made ready. Its functions are called one at a time. After a failure of `transceive` only `release` may be called. */
export interface CardInField {
  /** 4 bytes (random for each contact, first byte 08), 7 or 10; undefined where the reader does not tell. */
  readonly uid: Bytes | undefined;
  /**
   * Sends one command APDU and resolves to the card's answer (status word last). The command is never sent again by anything here:
   * only blocks are, as ISO/IEC 14443-4 (7.5.5) says. Fails with `card/removed` (it left the field; the command may or may not have been
   * carried out), `card/silent` (no answer within `limitMs`), `card/answer` (against ISO/IEC 14443-4 or longer than any), `reader/failed`
   * (unplugged, or nonsense), `reader/in-use`, `reader/permission` (the terminal does not pass commands on).
   */
  transceive(command: Bytes, limitMs: number): Promise<Bytes>;
  /** Whether the card still lies there; asked between commands only. Does not change the card's state. */
  isPresent(): Promise<boolean>;
  /** Lets go of the card (it loses its session), and leaves the reader ready for the next `findCard`. Never throws. */
  release(): Promise<void>;
}
