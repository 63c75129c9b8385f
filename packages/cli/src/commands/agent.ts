import { CLOSE_GRACE_MS, startAgent } from '@culvert/proxy/agent';
import { AgentFiles } from '../agent-files.ts';
import { reloadOnHangUp } from '../agent-reload.ts';
import type { DeviceConnectionFlags } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { stopOnSignals } from '../polite-stop.ts';
import { endlessOutput } from '../standard-output.ts';
import { agentSentence, type EventFormat, eventTeller } from '../stream-messages.ts';
import { surviveFaults } from '../survive-faults.ts';

/** Flags of `culvert agent`. */
export interface AgentFlags extends DeviceConnectionFlags {
  readonly config?: string;
  readonly service?: readonly string[];
  readonly defaultService?: string;
  readonly output: EventFormat;
}

/** `culvert agent`: runs until it is told to stop. Only what is wrong with its own flags and files ends it, when it starts. */
export async function agent(flags: AgentFlags): Promise<void> {
  const files = new AgentFiles(flags);
  const { address, services } = files.read();
  endlessOutput();
  const onEvent = eventTeller(flags.output, agentSentence);
  const running = startAgent({ ...address, ...services, readAgain: () => files.readAgain(), onEvent });
  const stop = (): void => {
    if (running.streams > 0) tell(stopping(running.streams));
    void running.close();
  };
  const release = [stopOnSignals({ stop }), reloadOnHangUp({ running, files, onEvent, stop }), surviveFaults()];
  try {
    await running.closed;
  } finally {
    for (const off of release) off();
  }
}

/** What is said when running streams are waited for. */
export function stopping(streams: number): string {
  return `stopping when ${streams} open stream${streams === 1 ? ' has' : 's have'} ended, in ${CLOSE_GRACE_MS / 1000} s at most; again to stop at once`;
}
