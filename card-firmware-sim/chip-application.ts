/** The chip as a contactless card carries it: commands in, answers out; what happens in the field is the card's matter, not the chip's. */
import type { CardApplication } from './usb/usb-device.ts';
import type { Chip } from './chip.ts';

export function chipApplication(chip: Pick<Chip, 'uid' | 'process' | 'reset'>): CardApplication {
  return { uid: chip.uid, process: (command) => chip.process(command), reset: () => chip.reset() };
}
