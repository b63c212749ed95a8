/** Where a simulated card can be put: a PC/SC reader's virtual slot, or the field of an emulated USB reader. */
import type { Chip } from '#card-firmware-sim/chip.ts';
import type { ContactlessField } from '#card-firmware-sim/usb/field.ts';
import { Picc } from '#card-firmware-sim/usb/picc.ts';
import type { CardApplication } from '#card-firmware-sim/usb/usb-device.ts';
import { keepInserted, type CommandFate } from '#card-firmware-sim/vpcd.ts';
import type { Bytes } from '#protocol/bytes.ts';

export interface Insertion {
  readonly chip: Chip;
  /** Lifts the card when it is aborted. */
  readonly signal: AbortSignal;
  /** Asked for each command since the card was put there. */
  readonly fate: (command: Bytes, index: number) => CommandFate;
  /** The card lies there, or waits for its reader. */
  readonly onThere: () => void;
}

export interface CardPlace {
  /** Keeps the card there; resolves when it was lifted, and the chip is at rest and has lost its session. */
  keep(insertion: Insertion): Promise<void>;
}

export function slotOf(vpcdPort: number): CardPlace {
  return {
    // With the simulated reader of the host there is no reader before the host runs: the card waits for it.
    keep: ({ chip, signal, fate, onThere }) => keepInserted({ host: '127.0.0.1', port: vpcdPort, chip, signal, beforeAnswer: fate, onChange: onThere }),
  };
}

export function fieldOf(field: ContactlessField): CardPlace {
  return {
    keep: async ({ chip, signal, fate, onThere }) => {
      let commands = 0;
      /** A chip finishes the command that it was lifted from. */
      let work: Promise<unknown> = Promise.resolve();
      const application: CardApplication = {
        uid: chip.uid,
        reset: () => chip.reset(),
        process: async (command) => {
          const decided = fate(command, commands++);
          if (decided === 'lift-before') return 'tear';
          const answer = chip.process(command);
          work = answer;
          const bytes = await answer;
          return decided === 'answer' ? bytes : decided === 'mute' ? 'mute' : 'tear';
        },
      };
      const picc = new Picc({ application });
      field.put(picc);
      onThere();
      await new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => resolve(), { once: true });
        if (signal.aborted) resolve();
      });
      field.lift(picc);
      await work;
      await chip.reset();
    },
  };
}
