/** One signal for several, that can be let go of: AbortSignal.any keeps what it made for as long as its sources live, and a field or a cable lives long. */
export interface AnySignal {
  readonly signal: AbortSignal;
  /** Ends it too. */
  release(): void;
}

export function anySignal(...sources: readonly (AbortSignal | undefined)[]): AnySignal {
  const controller = new AbortController();
  const end = () => controller.abort();
  for (const source of sources) {
    if (source?.aborted === true) end();
    source?.addEventListener('abort', end, { once: true });
  }
  return {
    signal: controller.signal,
    release: () => {
      for (const source of sources) source?.removeEventListener('abort', end);
      end();
    },
  };
}
