/** What the key settings of the selected level, card or application, ask of a management command. */
import { KEY_SETTING } from '../card-image.ts';
import { requireMasterSession, selectedApplication } from '../command.ts';
import { StatusError } from '../status.ts';
import type { CardState } from '../command.ts';

export function keySettings(state: CardState): number {
  return state.selected === 'card' ? state.memory.image.picc.keySettings : selectedApplication(state).keySettings;
}

/** 9D inside an application. */
export function requireCardLevel(state: CardState): void {
  if (state.selected !== 'card') throw new StatusError('PERMISSION_DENIED');
}

/** Lists and settings may be asked for freely, or with the master key of the level only. */
export function requireListing(state: CardState): void {
  if ((keySettings(state) & KEY_SETTING.FREE_LISTING) === 0) requireMasterSession(state);
}

/** Applications at card level, files in an application. */
export function requireCreateDelete(state: CardState): void {
  if ((keySettings(state) & KEY_SETTING.FREE_CREATE_DELETE) === 0) requireMasterSession(state);
}
