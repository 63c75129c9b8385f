/** How a long-running command reacts to a request to stop. */
export interface Stoppable {
  /** Called at the first SIGINT or SIGTERM: shut down gracefully. */
  readonly stop: (signal: NodeJS.Signals) => void;
}

/** Exit codes of a command that a signal interrupts: 128 plus the signal's number. */
export const SIGNAL_EXIT = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * The first SIGINT or SIGTERM shuts down gracefully, the second ends the process at once with 130 or 143.
 * @returns a function that removes the handlers
 */
export function stopOnSignals(target: Stoppable): () => void {
  let stopping = false;
  const handle = (signal: 'SIGINT' | 'SIGTERM') => (): void => {
    if (stopping) process.exit(SIGNAL_EXIT[signal]);
    stopping = true;
    target.stop(signal);
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
