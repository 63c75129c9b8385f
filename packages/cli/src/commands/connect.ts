import {
  CulvertError,
  type Identity,
  identityName,
  parseDeviceId,
  parseModuleId,
  parseStreamName,
} from '@culvert/protocol';
import {
  CLOSE_GRACE_MS,
  connectStdio,
  type LocalService,
  type OpenStreamFunction,
  startConnect,
} from '@culvert/proxy/connect';
import type { ServiceClient, ServiceClientOptions, ServiceSessionEvent } from '@culvert/service';
import { withClient } from '../client.ts';
import { type TrustFlags, trustOptions } from '../end-keys.ts';
import { SIGNAL_EXIT, stopOnSignals } from '../graceful-shutdown.ts';
import { type ConnectionFlags, surroundings } from '../hub-connection.ts';
import { tell, tellError } from '../messages.ts';
import { parseServiceAddress } from '../service-address.ts';
import type { HostKeyMode } from '../ssh/host-key-modes.ts';
import { closableOutput, endlessOutput, unwatchOutput } from '../standard-output.ts';
import { connectSentence, type EventFormat, eventTeller, sessionSentence } from '../stream-messages.ts';

/** Flags of `culvert connect`. */
export interface ConnectFlags extends ConnectionFlags, TrustFlags {
  /** The module of the device whose services are requested; default: the device's own services. */
  readonly module?: string;
  readonly stdio?: boolean;
  /** In seconds. */
  readonly halfCloseTimeout?: number;
  /** In seconds. */
  readonly sessionRetention?: number;
  /** A stream of its own for each connection, without a session. */
  readonly raw?: boolean;
  /** `DEVICE.culvert`, or a module's name in that form, set by ssh's ProxyCommand: joins standard input and output to the service `ssh`. */
  readonly sshHost?: string;
  /** With `sshHost`: how to treat a host key at the first contact, and the file where the keys are stored. */
  readonly hostKeys?: HostKeyMode;
  readonly knownHosts?: string;
  readonly output: EventFormat;
}

/** What a command line of `connect` requests. */
export type ConnectRequest =
  | { readonly mode: 'stdio'; readonly identity: Identity; readonly service: string }
  | { readonly mode: 'listen'; readonly identity: Identity; readonly services: readonly LocalService[] };

/** `culvert connect`. Resolves to the exit code. */
export async function connect(
  device: string | undefined,
  services: readonly string[],
  flags: ConnectFlags,
): Promise<number> {
  if (flags.sshHost !== undefined) return connectForSsh(device, services, flags);
  const request = await connectRequest(device, services, flags);
  const use = async (client: ServiceClient): Promise<number> => {
    const openStream = openerOf(client, request.identity, flags);
    if (request.mode === 'stdio') return overStdio(openStream, request);
    await assertThere(client, request.identity);
    return overListeners(openStream, request, flags);
  };
  return withClient(flags, 'service', use, await streamOptions(flags));
}

async function streamOptions(flags: ConnectFlags): Promise<Pick<ServiceClientOptions, 'halfCloseMs' | 'session'>> {
  const { halfCloseTimeout, sessionRetention, output, stdio, sshHost } = flags;
  const trust = await trustOptions(flags, surroundings());
  // Standard output belongs to the stream then, and what ends the session also fails its only connection, so the command says it.
  const isStdio = stdio === true || sshHost !== undefined;
  const sentence = (event: ServiceSessionEvent): string | undefined =>
    isStdio && event.type === 'session-ended' ? undefined : sessionSentence(event);
  const onEvent = eventTeller(isStdio ? 'text' : output, sentence);
  return {
    ...(halfCloseTimeout === undefined ? {} : { halfCloseMs: halfCloseTimeout * 1_000 }),
    session: { ...trust, onEvent, ...(sessionRetention === undefined ? {} : { retentionSeconds: sessionRetention }) },
  };
}

/** `connect` as ssh's ProxyCommand: prepares the host key first, and reports a failure to the `culvert ssh` that started it, if any. */
async function connectForSsh(
  device: string | undefined,
  services: readonly string[],
  flags: ConnectFlags,
): Promise<number> {
  let opened = false;
  try {
    const request = await connectRequest(device, services, flags);
    if (request.mode !== 'stdio') throw new CulvertError('usage', '--ssh-host goes with standard input and output');
    const { identity } = request;
    const { deviceId, moduleId } = identity;
    const { hostKeys: mode, knownHosts } = flags;
    const use = async (client: ServiceClient): Promise<number> => {
      if (mode !== undefined && knownHosts !== undefined) {
        const { prepareHostKeys } = await import('../ssh/host-keys.ts');
        const reachability = () => client.devices.reachability(deviceId, moduleId);
        await prepareHostKeys({ identity, mode, knownHosts, reachability, tell });
      }
      return overStdio(openerOf(client, identity, flags), request, () => {
        opened = true;
      });
    };
    return await withClient(flags, 'service', use, await streamOptions(flags));
  } catch (error) {
    const exit = tellError(error);
    const { reportFailure } = await import('../ssh/failure-report.ts');
    await reportFailure({ exit, opened });
    return exit;
  }
}

function openerOf(
  client: ServiceClient,
  { moduleId }: Identity,
  { raw = false }: Pick<ConnectFlags, 'raw'>,
): OpenStreamFunction {
  const module = moduleId === undefined ? { raw } : { raw, moduleId };
  return (deviceId, options) => client.openStream(deviceId, { ...options, ...module });
}

/**
 * Checks once that the hub is reachable, the credential has the permission, and the device exists and is enabled. Otherwise local ports would open
 * although no connection could ever succeed. A device that is only offline is accepted, with a message.
 * @throws CulvertError with the reason
 */
async function assertThere(client: ServiceClient, identity: Identity): Promise<void> {
  const { status, online } = await client.devices.reachability(identity.deviceId, identity.moduleId);
  if (status === 'disabled') throw new CulvertError('device_disabled');
  if (!online) tell(`${identityName(identity)} is not online now; Culvert tries to reach it for each connection`);
}

/**
 * Parses the arguments.
 * @throws CulvertError `usage`, `argument_invalid`
 */
export async function connectRequest(
  device: string | undefined,
  services: readonly string[],
  flags: Pick<ConnectFlags, 'stdio' | 'sshHost' | 'module'>,
): Promise<ConnectRequest> {
  if (flags.sshHost !== undefined) {
    if (device !== undefined || flags.module !== undefined)
      throw new CulvertError('usage', '--ssh-host takes the place of the arguments');
    const { hostName, identityOfHost } = await import('../ssh/host-name.ts');
    const identity = identityOfHost(flags.sshHost);
    // ssh stores host keys under the lower-case name: two devices must not share one.
    if (identityName(identityOfHost(flags.sshHost.toLowerCase())) !== identityName(identity)) {
      throw new CulvertError('usage', `ssh knows no upper case in host names: write ${hostName(identity)}`);
    }
    return { mode: 'stdio', identity, service: 'ssh' };
  }
  if (device === undefined) throw new CulvertError('usage', 'which device? culvert connect DEVICE SERVICE=[HOST:]PORT');
  const identity: Identity = {
    deviceId: parseDeviceId(device),
    ...(flags.module === undefined ? {} : { moduleId: parseModuleId(flags.module) }),
  };
  const [service] = services;
  if (service === undefined) {
    throw new CulvertError(
      'usage',
      `which service? culvert connect DEVICE ${flags.stdio ? 'SERVICE --stdio' : 'SERVICE=[HOST:]PORT'}`,
    );
  }
  if (flags.stdio !== true) {
    return { mode: 'listen', identity, services: services.map((text) => parseServiceAddress(text, 0)) };
  }
  if (services.length > 1) throw new CulvertError('usage', '--stdio takes one service');
  return { mode: 'stdio', identity, service: parseStreamName(service) };
}

async function overStdio(
  openStream: OpenStreamFunction,
  request: ConnectRequest & { mode: 'stdio' },
  onOpened: () => void = () => undefined,
): Promise<number> {
  const now = new AbortController();
  const hangUp = new AbortController();
  let code = 0;
  const interrupt = (signal: 'SIGINT' | 'SIGTERM'): void => {
    code = SIGNAL_EXIT[signal];
    now.abort(new CulvertError('aborted', 'interrupted'));
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  process.once('SIGHUP', () => hangUp.abort());
  const { service } = request;
  const { deviceId } = request.identity;
  const { stdin } = process;
  unwatchOutput();
  const stdout = closableOutput();
  try {
    await connectStdio({
      openStream,
      deviceId,
      service,
      onOpened,
      stdin,
      stdout,
      isTerminal: stdin.isTTY,
      signal: now.signal,
      hangUp: hangUp.signal,
    });
    return 0;
  } catch (error) {
    if (code !== 0) return code;
    throw error;
  }
}

async function overListeners(
  openStream: OpenStreamFunction,
  { identity, services }: ConnectRequest & { mode: 'listen' },
  flags: ConnectFlags,
): Promise<number> {
  endlessOutput();
  const onEvent = eventTeller(flags.output, connectSentence);
  const proxy = await startConnect({ openStream, deviceId: identity.deviceId, services, onEvent });
  await new Promise<void>((resolve) => {
    const release = stopOnSignals({
      stop: () => {
        if (proxy.streams > 0)
          tell(`stopping; open streams have ${CLOSE_GRACE_MS / 1000} s to end, again to stop at once`);
        void proxy.close().then(() => {
          release();
          resolve();
        });
      },
    });
  });
  return 0;
}
