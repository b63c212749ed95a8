/** What makes a value file, as CreateValueFile and SetConfiguration carry it: lower and upper limit, value, and who may do what beside the rights. */
import { parseInt32LE } from '../card-image.ts';
import { StatusError } from '../status.ts';
import type { Bytes } from '#protocol/bytes.ts';
import type { ValueFile } from '../card-image.ts';

export const VALUE_SETTINGS_BYTES = 13;
const LIMITED_CREDIT_ENABLED = 0x01;
const FREE_GET_VALUE = 0x02;

/** As a value file has it from then on: nothing to give back yet, and not to be configured again. 9E for a value outside of its limits, and for an unknown option. */
export function parseValueSettings(settings: Bytes): Omit<ValueFile, 'type' | 'number' | 'mode' | 'rights'> {
  const [lower, upper, value] = [0, 4, 8].map((offset) => parseInt32LE(settings.subarray(offset, offset + 4))) as [number, number, number];
  const option = settings[12] ?? 0;
  const isKnownOption = (option & ~(LIMITED_CREDIT_ENABLED | FREE_GET_VALUE)) === 0;
  if (!isKnownOption || lower > value || value > upper) throw new StatusError('PARAMETER_ERROR');
  const limitedCreditEnabled = (option & LIMITED_CREDIT_ENABLED) !== 0;
  const freeGetValue = (option & FREE_GET_VALUE) !== 0;
  return { lower, upper, value, limitedCredit: 0, limitedCreditEnabled, freeGetValue, configured: true };
}
