/** The keys of the selected level: the card's one master key, or those of an application. */
import { CARD_MASTER_KEY, commitApplication, selectedApplication } from '../command.ts';
import { withKey } from '../card-image.ts';
import type { CardKey, CardMasterKey } from '../card-image.ts';
import type { CardState } from '../command.ts';

export function findKey(state: CardState, keyNo: number): CardKey | CardMasterKey | undefined {
  if (state.selected !== 'card') return selectedApplication(state).keys[keyNo];
  return keyNo === CARD_MASTER_KEY ? state.memory.image.picc.masterKey : undefined;
}

/** Makes an AES key permanent in the place of the one that is there. */
export function commitKey(state: CardState, keyNo: number, changed: CardKey): Promise<void> {
  if (state.selected !== 'card') return commitApplication(state, withKey(selectedApplication(state), keyNo, changed));
  const { image } = state.memory;
  return state.memory.commit({ ...image, picc: { ...image.picc, masterKey: { ...changed, type: 'aes' } } });
}
