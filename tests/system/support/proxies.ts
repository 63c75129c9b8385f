import type { Cleanup } from './cleanup.ts';
import { startCulvert } from './culvert.ts';
import { freePort } from './free-port.ts';
import type { HubProcess } from './hub-process.ts';
import type { Program } from './program.ts';

/** Flags of `culvert connect` for a raw stream for each connection, also to a device that has had a session and whose key is therefore known. */
export const RAW = ['--raw', '--allow-unencrypted'] as const;

/** A device whose local proxy is running. */
export interface RunningAgent {
  readonly deviceId: string;
  readonly connectionString: string;
  readonly program: Program;
}

/** Registers a device and starts `culvert agent` for it; `services` are `NAME=HOST:PORT`. Waits until the agent is attached. */
export async function startAgent(
  cleanup: Cleanup,
  hub: HubProcess,
  deviceId: string,
  services: readonly string[],
  options: { env?: NodeJS.ProcessEnv; args?: readonly string[] } = {},
): Promise<RunningAgent> {
  const connectionString = await hub.createDevice(deviceId);
  const program = startCulvert(
    cleanup,
    ['agent', ...services.flatMap((service) => ['--service', service]), ...(options.args ?? [])],
    { HOME: hub.home, CULVERT_DEVICE_CONNECTION_STRING: connectionString, CULVERT_CA_FILE: hub.caFile, ...options.env },
  );
  await hub.connected(hub.owner(cleanup), deviceId);
  return { deviceId, connectionString, program };
}

/**
 * Starts `culvert connect`, with these flags, for services of a device, each on a free port, and waits until its output reports that all listen.
 * A connection attempt as a check would open a stream.
 */
export async function startConnect(
  cleanup: Cleanup,
  hub: HubProcess,
  deviceId: string,
  services: readonly string[],
  flags: readonly string[] = [],
): Promise<{ ports: number[]; program: Program }> {
  const ports = await Promise.all(services.map(() => freePort()));
  const pairs = services.map((service, index) => `${service}=127.0.0.1:${ports[index]}`);
  const program = startCulvert(cleanup, ['connect', ...flags, '--', deviceId, ...pairs], hub.serviceEnv());
  for (const port of ports) await program.waitFor(new RegExp(`is at 127\\.0\\.0\\.1:${port}\\n`));
  return { ports, program };
}
