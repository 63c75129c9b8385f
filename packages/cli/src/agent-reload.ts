import { closeSync, openSync } from 'node:fs';
import { CulvertError } from '@culvert/protocol';
import type { Agent, AgentEvent } from '@culvert/proxy/agent';
import type { AgentFiles } from './agent-files.ts';

/** A running agent and the files that it reloads. */
export interface ReloadOptions {
  readonly running: Pick<Agent, 'reload'>;
  readonly files: Pick<AgentFiles, 'read'>;
  readonly onEvent: (event: AgentEvent) => void;
  /** Called when the agent's terminal was closed: the agent then stops, like any program in that terminal. */
  readonly stop: () => void;
}

/**
 * Reads the agent's files again on each SIGHUP. A mistake in the files is reported, and the agent keeps its settings.
 * @returns a function that removes the signal handler
 */
export function reloadOnHangUp(options: ReloadOptions): () => void {
  // Check now: once the terminal is closed, the process looks as if it had never had one.
  const inTerminal = process.stdin.isTTY === true || process.stderr.isTTY === true;
  const reload = (): void => {
    if (inTerminal && !hasTerminal()) {
      options.stop();
      return;
    }
    try {
      const { services, address } = options.files.read();
      options.running.reload(services, address);
    } catch (error) {
      options.onEvent({ type: 'reload-failed', error: CulvertError.from(error) });
    }
  };
  process.on('SIGHUP', reload);
  return () => process.off('SIGHUP', reload);
}

/** Whether the process still has a controlling terminal. When a terminal is closed, the process gets SIGHUP too. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}
