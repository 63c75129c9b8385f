/**
 * Calls code of a program from within a session. What it throws is thrown again in a turn of its own, as an uncaught exception: the session, and the
 * connections of others in it, go on undisturbed. Returns undefined then.
 */
export function callApart<T>(call: () => T): T | undefined {
  try {
    return call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
    return undefined;
  }
}
