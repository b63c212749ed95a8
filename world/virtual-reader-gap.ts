/** Asks pcscd, from inside a virtual reader's private network, whether it has noted that nothing lies on a reader. */
import { loadPcscLibrary, type ContextHandle, type PcscLibrary } from '#bridge/host/pcsc/library.ts';
import { SCARD, STATE, statusName } from '#bridge/host/pcsc/status.ts';

/** Between two questions, should pcscd not announce a change. */
const ASK_AGAIN_MS = 1_000;

let library: PcscLibrary | undefined;

/**
 * Resolves once pcscd has noted the reader as empty. Its poll alone counts what is put on and taken off, and what it found first was an
 * empty reader: so an even count says that the poll saw it empty, which the state alone does not (forgotten-card.ts says why).
 */
export async function untilNotedEmpty(reader: string): Promise<void> {
  library ??= loadPcscLibrary();
  const { status, context } = await library.establishContext();
  if (status !== SCARD.S_SUCCESS) throw new Error(`SCardEstablishContext: ${statusName(status)}`);
  try {
    await follow(library, context, reader);
  } finally {
    await library.releaseContext(context);
  }
}

async function follow(pcsc: PcscLibrary, context: ContextHandle, reader: string): Promise<void> {
  let current = 0;
  for (;;) {
    const { status, events } = await pcsc.getStatusChange(context, ASK_AGAIN_MS, [{ name: reader, current }]);
    const [seen] = events;
    if (status === SCARD.S_SUCCESS && seen !== undefined) {
      if ((seen.event & STATE.EMPTY) !== 0 && ((seen.event >>> 16) & 1) === 0) return;
      current = seen.event & ~STATE.CHANGED;
    } else if (status !== SCARD.E_TIMEOUT) throw new Error(`SCardGetStatusChange: ${statusName(status)}`);
  }
}
