import {
  CulvertError,
  formatAuthority,
  formatHostPort,
  identityName,
  parseDeviceConnectionString,
} from '@culvert/protocol';
import { type AgentServices, CLOSE_GRACE_MS, startAgent } from '@culvert/proxy/agent';
import { AgentFiles } from '../agent-files.ts';
import { reloadOnHangUp } from '../agent-reload.ts';
import { openAgentKey } from '../end-keys.ts';
import { stopOnSignals } from '../graceful-shutdown.ts';
import { type DeviceConnectionFlags, surroundings } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { endlessOutput } from '../standard-output.ts';
import { agentSentence, type EventFormat, eventTeller } from '../stream-messages.ts';
import { surviveFaults } from '../survive-faults.ts';

/** Flags of `culvert agent`. */
export interface AgentFlags extends DeviceConnectionFlags {
  readonly config?: string;
  readonly service?: readonly string[];
  readonly defaultService?: string;
  /** Paths of `.pub` files. With `--no-ssh-host-keys`, `sshHostKeys` is false. */
  readonly sshHostKey?: readonly string[];
  readonly sshHostKeys: boolean;
  /** In seconds. */
  readonly halfCloseTimeout?: number;
  /** In seconds. */
  readonly sessionRetention?: number;
  readonly endKey?: string;
  readonly authorizedServices?: string;
  readonly requireEncryption?: boolean;
  readonly output: EventFormat;
}

/** `culvert agent`: runs until a signal stops it. Only a mistake in its flags or files, found at the start, makes it fail. */
export async function agent(flags: AgentFlags): Promise<void> {
  const files = new AgentFiles(flags);
  const { address, services, encryption, ...rest } = files.read();
  const { authorizedServices, requireEncryption } = encryption;
  const needsKey = requireEncryption || authorizedServices !== undefined;
  const key = await openAgentKey(encryption.endKeyFile, needsKey, surroundings());
  if (flags.output === 'text') tell(starting(address.connectionString, services, key?.fingerprint));
  endlessOutput();
  const onEvent = eventTeller(flags.output, agentSentence);
  const sessionKeys = {
    requireEncryption,
    ...(key === undefined ? {} : { key }),
    ...(authorizedServices === undefined ? {} : { authorizedServices }),
  };
  const running = startAgent({
    ...address,
    sessionKeys,
    ...services,
    ...rest,
    readAgain: () => files.readAgain(),
    onEvent,
  });
  const stop = (): void => {
    if (running.streams > 0) tell(stopping(running.streams));
    void running.close();
  };
  const stopNow = (): Promise<void> => running.destroy(new CulvertError('draining', 'The agent was stopped.'));
  const release = [
    stopOnSignals({ stop, stopNow }),
    reloadOnHangUp({ running, files, onEvent, stop }),
    surviveFaults(),
  ];
  try {
    await running.closed;
  } finally {
    for (const off of release) off();
  }
}

/** The line printed at the start: hub, device, services and the key. */
function starting(
  connectionString: string,
  { services, defaultService }: AgentServices,
  fingerprint: string | undefined,
): string {
  const address = parseDeviceConnectionString(connectionString);
  const offered = [...services].map(([name, { host, port }]) => `${name} (${formatHostPort(host, port)})`);
  const other = defaultService === undefined ? '' : `, and for any other name ${defaultService}`;
  const key = fingerprint === undefined ? '' : `; its key is ${fingerprint}`;
  return `${identityName(address)} at ${formatAuthority(address.host, address.port)} offers ${offered.join(', ')}${other}${key}`;
}

/** The message printed while the program waits for open streams. */
export function stopping(streams: number): string {
  return `stopping when ${streams} open stream${streams === 1 ? ' has' : 's have'} ended, in ${CLOSE_GRACE_MS / 1000} s at most; again to stop at once`;
}
