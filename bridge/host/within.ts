/** A time limit of our own around work that cannot be stopped. */

/** The value if it comes within `limitMs`; otherwise `undefined` in `value` and `late: true`, and the work goes on by itself. */
export async function within<T>(limitMs: number, work: Promise<T>): Promise<{ late: false; value: T } | { late: true }> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<{ late: true }>((resolve) => {
    timer = setTimeout(() => resolve({ late: true }), limitMs);
  });
  try {
    return await Promise.race([work.then((value) => ({ late: false, value }) as const), limit]);
  } finally {
    clearTimeout(timer);
  }
}
