/** FormatPICC and GetFreeMemory: what concerns all the memory of an EV2 or EV3. */
import { encodeUintLE } from '#protocol/bytes.ts';
import { freeBytes } from '../memory-use.ts';
import { MAC_BOTH_WAYS, requireMasterSession } from '../command.ts';
import { requireCardLevel } from './management.ts';
import type { SecuredCommand } from '../command.ts';

/** All applications are gone and all their memory is free; master key and settings of the card level stay. */
export const formatPicc: SecuredCommand = {
  instruction: 0xfc,
  anywhere: true,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  async execute(state) {
    requireCardLevel(state);
    requireMasterSession(state);
    const { image } = state.memory;
    await state.memory.commit({ ...image, picc: { ...image.picc, lostBytes: 0 }, applications: [] });
    return { endsSession: true };
  },
};

export const getFreeMemory: SecuredCommand = {
  instruction: 0x6e,
  anywhere: true,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute: ({ memory, profile }) => ({ data: encodeUintLE(freeBytes(memory.image, profile), 3) }),
};
