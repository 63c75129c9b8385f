import { closeSync, openSync } from 'node:fs';
import { CulvertError } from '@culvert/protocol';
import type { Agent, AgentEvent } from '@culvert/proxy/agent';
import type { AgentFiles } from './agent-files.ts';

/** A running agent and the files that it reloads. */
export interface ReloadOptions {
  readonly running: Pick<Agent, 'reload'>;
  readonly files: Pick<AgentFiles, 'read'>;
  readonly onEvent: (event: AgentEvent) => void;
  /** Called when the agent's terminal was closed: stop, like any program there. */
  readonly stop: () => void;
}

/**
 * SIGHUP reads the agent's files again. A mistake in them is reported, and the agent goes on as before.
 * @returns takes the handler off again
 */
export function reloadOnHangUp(options: ReloadOptions): () => void {
  // Check now: a terminal that was closed later looks as if there had been none.
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

/** Whether the process still has a controlling terminal: one that was closed sends SIGHUP too. */
function hasTerminal(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return true;
  } catch {
    return false;
  }
}
