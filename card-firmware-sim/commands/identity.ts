/** GetVersion and GetCardUID. */
import { concatBytes } from '#protocol/bytes.ts';
import { ENCIPHERED_RESPONSE, MAC_BOTH_WAYS } from '../command.ts';
import { StatusError } from '../status.ts';
import type { SecuredCommand } from '../command.ts';

export const getVersion: SecuredCommand = {
  instruction: 0x60,
  anywhere: true,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute: ({ profile, memory }) => ({
    data: concatBytes(profile.hardwareVersion, profile.softwareVersion, memory.image.uid, profile.production),
    frameBytes: [profile.hardwareVersion.length, profile.softwareVersion.length],
  }),
};

export const getCardUid: SecuredCommand = {
  instruction: 0x51,
  anywhere: true,
  headerBytes: 0,
  messaging: () => ENCIPHERED_RESPONSE,
  execute(state) {
    if (state.session === undefined) throw new StatusError('AUTHENTICATION_ERROR');
    return { data: state.memory.image.uid };
  },
};
