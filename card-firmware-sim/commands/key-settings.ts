/** GetKeySettings and ChangeKeySettings, of the card level or an application. */
import { AES_KEYS, ISO_FILE_IDS, isChangeKeyKnown } from './applications.ts';
import { commitApplication, ENCIPHERED_REQUEST, MAC_BOTH_WAYS, requireMasterSession, selectedApplication } from '../command.ts';
import { KEY_SETTING } from '../card-image.ts';
import { keySettings, requireListing } from './management.ts';
import { StatusError } from '../status.ts';
import type { CardState, SecuredCommand } from '../command.ts';

export const getKeySettings: SecuredCommand = {
  instruction: 0x45,
  anywhere: true,
  headerBytes: 0,
  messaging: () => MAC_BOTH_WAYS,
  execute(state) {
    requireListing(state);
    return { data: new Uint8Array([keySettings(state), keysAndType(state)]) };
  },
};

function keysAndType(state: CardState): number {
  // The card level has one key.
  if (state.selected === 'card') return state.memory.image.picc.masterKey?.type === 'aes' ? AES_KEYS | 1 : 1;
  const { keys, hasIsoFileIds } = selectedApplication(state);
  return AES_KEYS | (hasIsoFileIds ? ISO_FILE_IDS : 0) | keys.length;
}

export const changeKeySettings: SecuredCommand = {
  instruction: 0x54,
  anywhere: true,
  headerBytes: 0,
  dataBytes: [1, 1],
  messaging: () => ENCIPHERED_REQUEST,
  async execute(state, { data: [settings = 0] }) {
    requireMasterSession(state);
    if ((keySettings(state) & KEY_SETTING.SETTINGS_CHANGEABLE) === 0) throw new StatusError('PERMISSION_DENIED');
    const { image } = state.memory;
    if (state.selected === 'card') {
      // Which key changes keys is no question where there is one.
      if (settings >> 4 !== 0) throw new StatusError('PARAMETER_ERROR');
      await state.memory.commit({ ...image, picc: { ...image.picc, keySettings: settings } });
    } else {
      const application = selectedApplication(state);
      if (!isChangeKeyKnown(settings, application.keys.length)) throw new StatusError('PARAMETER_ERROR');
      await commitApplication(state, { ...application, keySettings: settings });
    }
    return {};
  },
};
