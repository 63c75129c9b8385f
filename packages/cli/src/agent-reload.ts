import { closeSync, openSync } from 'node:fs';
import { CulvertError } from '@culvert/protocol';
import type { Agent, AgentEvent } from '@culvert/proxy/agent';
import type { AgentFiles } from './agent-files.ts';

/** A running agent and what it is reloaded from. */
export interface ReloadOptions {
  readonly running: Pick<Agent, 'reload'>;
  readonly files: Pick<AgentFiles, 'read'>;
  readonly onEvent: (event: AgentEvent) => void;
  /** The terminal the agent was started from is gone: it is to stop, as any program there. */
  readonly stop: () => void;
}

/**
 * SIGHUP reads the agent's files again. What is wrong with them is told, and the agent goes on as before.
 * @returns takes the handler off again
 */
export function reloadOnHangUp(options: ReloadOptions): () => void {
  // Asked now: later a terminal that is gone looks like none.
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
