import {
  CulvertError,
  formatAuthority,
  formatHostPort,
  identityName,
  parseDeviceConnectionString,
} from '@culvert/protocol';
import { CLOSE_GRACE_MS, startAgent, type Target } from '@culvert/proxy/agent';
import { type AgentConfig, readAgentConfig } from '../agent-config.ts';
import { type DeviceConnection, type DeviceConnectionFlags, deviceConnection } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { stopOnSignals } from '../polite-stop.ts';
import { parseServiceAddress } from '../service-address.ts';
import { agentHostKeys } from '../ssh-host-keys.ts';
import { agentSentence, type EventFormat, eventTeller } from '../stream-messages.ts';

/** Flags of `culvert agent`. */
export interface AgentFlags extends DeviceConnectionFlags {
  readonly config?: string;
  readonly service?: readonly string[];
  readonly defaultService?: string;
  /** `.pub` files; false by `--no-ssh-host-keys`. */
  readonly sshHostKey?: readonly string[];
  readonly sshHostKeys: boolean;
  readonly output: EventFormat;
}

/** `culvert agent`: runs until it is told to stop, or the hub refuses the device for good. */
export async function agent(flags: AgentFlags): Promise<void> {
  const config = flags.config === undefined ? { services: new Map<string, Target>() } : readAgentConfig(flags.config);
  const services = offeredServices(config, flags.service ?? []);
  if (services.size === 0) {
    throw new CulvertError(
      'usage',
      'nothing to offer: give --service NAME=HOST:PORT, such as --service ssh=127.0.0.1:22',
    );
  }
  const defaultService = flags.defaultService ?? config.defaultService;
  const connection = deviceConnection(flags, config);
  assertProof(connection);
  const files = flags.sshHostKeys ? (flags.sshHostKey ?? config.sshHostKeys) : false;
  const sshHostKeys = agentHostKeys(files, services);
  if (flags.output === 'text') tell(starting(connection, services, defaultService));
  const running = startAgent({
    ...connection,
    services,
    sshHostKeys,
    ...(defaultService === undefined ? {} : { defaultService }),
    onEvent: eventTeller(flags.output, agentSentence),
  });
  const release = stopOnSignals({
    stop: () => {
      if (running.streams > 0) tell(stopping(running.streams));
      void running.close();
    },
  });
  try {
    await running.closed;
  } finally {
    release();
  }
}

/** What is said at the start: which hub, as whom, and what is offered. */
function starting(
  { connectionString }: DeviceConnection,
  services: ReadonlyMap<string, Target>,
  defaultService: string | undefined,
): string {
  const address = parseDeviceConnectionString(connectionString);
  const offered = [...services].map(([name, { host, port }]) => `${name} (${formatHostPort(host, port)})`);
  const other = defaultService === undefined ? '' : `, and for any other name ${defaultService}`;
  return `${identityName(address)} at ${formatAuthority(address.host, address.port)} offers ${offered.join(', ')}${other}`;
}

/** Says in flags what the client would say in options. */
function assertProof({ connectionString, certificate }: DeviceConnection): void {
  const byCertificate = parseDeviceConnectionString(connectionString).x509 === true;
  if (byCertificate && certificate === undefined)
    throw new CulvertError('usage', 'the connection string says x509=true: give --cert-file and --key-file');
  if (!byCertificate && certificate !== undefined)
    throw new CulvertError(
      'usage',
      '--cert-file and --key-file go with a connection string that says x509=true; this one has a key or token',
    );
}

/** The file's services, and over them those of the command line. */
function offeredServices(config: AgentConfig, flags: readonly string[]): ReadonlyMap<string, Target> {
  const services = new Map(config.services);
  for (const flag of flags) {
    const { name, host, port } = parseServiceAddress(flag, 1);
    services.set(name, { host, port });
  }
  return services;
}

/** What is said when running streams are waited for. */
export function stopping(streams: number): string {
  return `stopping when ${streams} open stream${streams === 1 ? ' has' : 's have'} ended, in ${CLOSE_GRACE_MS / 1000} s at most; again to stop at once`;
}
