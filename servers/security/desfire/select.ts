/** What can be asked of a card outside any session: selections, which drop authentication and any open transaction, and what it says about itself. */
import { responseData, statusWord, wrapNative, type CardCommand } from '#protocol/apdu.ts';
import { concatBytes, type Bytes } from '#protocol/bytes.ts';
import { Failure } from '#protocol/failure.ts';
import { INS, SW } from './instructions.ts';
import { CardRefusal } from './refusal.ts';

/** ISO 7816-4 by DF name, no answer data (P2 0C). */
export function selectApplication(name: Bytes): CardCommand {
  return { apdu: concatBytes(Uint8Array.of(0x00, 0xa4, 0x04, 0x0c, name.length), name, Uint8Array.of(0x00)), expectedStatus: SW.IsoOk };
}

/** The card level of an EV2 or EV3, above all applications. */
export function selectCardLevel(): CardCommand {
  return { apdu: wrapNative(INS.SelectApplication, new Uint8Array(3)), expectedStatus: SW.Ok };
}

/** GetVersion: three frames. */
export function requestVersion(): readonly CardCommand[] {
  return [
    { apdu: wrapNative(INS.GetVersion), expectedStatus: SW.AdditionalFrame },
    { apdu: wrapNative(INS.AdditionalFrame), expectedStatus: SW.AdditionalFrame },
    { apdu: wrapNative(INS.AdditionalFrame), expectedStatus: SW.Ok },
  ];
}

export interface CardVersion {
  /** 01: DESFire; 08: DESFire Light. */
  readonly type: number;
  /** Hardware, major: 12 is an EV2, 33 an EV3 (hex). */
  readonly hardwareMajor: number;
  readonly uid: Bytes;
}

/** Throws `card/removed`, CardRefusal, `card/answer`. */
export function parseVersion(responses: readonly Bytes[]): CardVersion {
  const [hardware, , production] = responses.map((response, frame) => openData(response, frame < 2 ? SW.AdditionalFrame : SW.Ok));
  if (hardware === undefined || production === undefined) throw new Failure('card/removed', { detail: 'GetVersion not answered to its end' });
  if (hardware.length !== 7 || production.length !== 14) throw new Failure('card/answer', { detail: 'GetVersion of another form' });
  return { type: hardware[1] ?? 0, hardwareMajor: hardware[3] ?? 0, uid: production.slice(0, 7) };
}

/** GetKeyVersion without a session: what the card, or whoever relays, says. */
export function requestOpenKeyVersion(keyNumber: number): CardCommand {
  return { apdu: wrapNative(INS.GetKeyVersion, Uint8Array.of(keyNumber)), expectedStatus: SW.Ok };
}

/** Throws CardRefusal, `card/answer`. */
export function parseOpenKeyVersion(response: Bytes): number {
  const [version, ...more] = openData(response, SW.Ok);
  if (version === undefined || more.length > 0) throw new Failure('card/answer', { detail: 'a key version of another length' });
  return version;
}

/** Data of an answer without MAC. Throws CardRefusal, `card/answer`. */
export function openData(response: Bytes, expectedStatus: number): Bytes {
  if (response.length < 2) throw new Failure('card/answer', { detail: 'no status word' });
  const status = statusWord(response);
  if (status !== expectedStatus) throw new CardRefusal(status);
  return responseData(response);
}
