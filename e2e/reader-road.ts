/** The customer at another reader than the house's: the same card and world, a browser of its own, and a reader that can be pulled out. */
import { join } from 'node:path';
import type { Browser } from '#world/browser.ts';
import { openStageReader, type StageReader, type StageReaderKind } from '#world/stage-reader.ts';
import { openCopy, type House } from './house.ts';

export interface ReaderRoad {
  readonly kind: StageReaderKind;
  readonly browser: Browser;
  readonly reader: StageReader;
  /** Puts the customer's card on this reader. */
  putCard(): Promise<void>;
  /** Pulls the reader out; where it cannot be pulled (PC/SC's is virtual), the service that keeps it dies. */
  pullOut(): Promise<void>;
  plugIn(): Promise<void>;
  /** Lifts the card and closes browser and reader. */
  close(): Promise<void>;
}

export async function openReaderRoad({ stage }: House, kind: StageReaderKind): Promise<ReaderRoad> {
  await stage.card.lift();
  const reader = await openStageReader(kind, join(stage.world.folder, `road-${kind}`), stage.world.ports.simReader);
  const browser = await openCopy(stage, `road-${kind}-browser`, reader.browserOptions);
  const { virtualReader, usb } = reader;
  return {
    kind,
    browser,
    reader,
    putCard: () => stage.card.insert(reader.place),
    pullOut: () => usb?.unplug() ?? virtualReader?.crash() ?? Promise.reject(new Error('this reader cannot be pulled out')),
    plugIn: () => usb?.plug() ?? virtualReader?.restart() ?? Promise.reject(new Error('this reader cannot be plugged in')),
    close: async () => {
      await stage.card.lift();
      await browser.close();
      await reader.close();
    },
  };
}
