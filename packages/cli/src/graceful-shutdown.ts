/** How a long-running command reacts to a request to stop. */
export interface Stoppable {
  /** Called at the first SIGINT or SIGTERM: shut down gracefully. */
  readonly stop: (signal: NodeJS.Signals) => void;
  /** Called at the second one: tell the other ends why, then the process ends. Default: it ends at once. */
  readonly stopNow?: () => Promise<unknown>;
}

/** Milliseconds that {@link Stoppable.stopNow} may take. */
const STOP_NOW_MS = 1_000;

/** Exit codes of a command that a signal interrupts: 128 plus the signal's number. */
export const SIGNAL_EXIT = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * The first SIGINT or SIGTERM shuts down gracefully, the second ends the process with 130 or 143: within a second, and at the third one at once.
 * @returns a function that removes the handlers
 */
export function stopOnSignals(target: Stoppable): () => void {
  let signals = 0;
  const handle = (signal: 'SIGINT' | 'SIGTERM') => (): void => {
    signals++;
    const exit = (): never => process.exit(SIGNAL_EXIT[signal]);
    if (signals === 1) target.stop(signal);
    else if (signals > 2 || target.stopNow === undefined) exit();
    else {
      setTimeout(exit, STOP_NOW_MS);
      target.stopNow().then(exit, exit);
    }
  };
  const onInt = handle('SIGINT');
  const onTerm = handle('SIGTERM');
  process.on('SIGINT', onInt);
  process.on('SIGTERM', onTerm);
  return () => {
    process.off('SIGINT', onInt);
    process.off('SIGTERM', onTerm);
  };
}
