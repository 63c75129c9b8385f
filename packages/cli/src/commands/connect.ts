import { CulvertError, type Identity, parseDeviceId, parseModuleId, parseStreamName } from '@culvert/protocol';
import {
  CLOSE_GRACE_MS,
  connectStdio,
  type LocalService,
  type OpenStreamFunction,
  startConnect,
} from '@culvert/proxy/connect';
import type { ServiceClient } from '@culvert/service';
import { withClient } from '../client.ts';
import type { ConnectionFlags } from '../hub-connection.ts';
import { tell } from '../messages.ts';
import { SIGNAL_EXIT, stopOnSignals } from '../polite-stop.ts';
import { parseServiceAddress } from '../service-address.ts';
import { closableOutput, unwatchOutput } from '../standard-output.ts';
import { connectSentence, type EventFormat, eventTeller } from '../stream-messages.ts';

/** Flags of `culvert connect`. */
export interface ConnectFlags extends ConnectionFlags {
  /** The module of the device whose services are wanted; default the device's own. */
  readonly module?: string;
  readonly stdio?: boolean;
  /** In seconds. */
  readonly halfCloseTimeout?: number;
  /** `DEVICE.culvert`, or a module's name of that kind, as ssh's ProxyCommand gives it: standard input and output to its `ssh`. */
  readonly sshHost?: string;
  readonly output: EventFormat;
}

/** What a command line of `connect` asks for. */
export type ConnectRequest =
  | { readonly mode: 'stdio'; readonly identity: Identity; readonly service: string }
  | { readonly mode: 'listen'; readonly identity: Identity; readonly services: readonly LocalService[] };

/** `culvert connect`: resolves to the exit code. */
export async function connect(
  device: string | undefined,
  services: readonly string[],
  flags: ConnectFlags,
): Promise<number> {
  const request = await connectRequest(device, services, flags);
  const { halfCloseTimeout } = flags;
  const options = halfCloseTimeout === undefined ? {} : { halfCloseMs: halfCloseTimeout * 1_000 };
  const use = (client: ServiceClient): Promise<number> => {
    const { moduleId } = request.identity;
    const module = moduleId === undefined ? {} : { moduleId };
    const openStream: OpenStreamFunction = (deviceId, options) =>
      client.openStream(deviceId, { ...options, ...module });
    return request.mode === 'stdio' ? overStdio(openStream, request) : overListeners(openStream, request, flags);
  };
  return withClient(flags, 'service', use, options);
}

/**
 * Reads the arguments.
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
    const { identityOfHost } = await import('../ssh/host-name.ts');
    return { mode: 'stdio', identity: identityOfHost(flags.sshHost), service: 'ssh' };
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
  if (services.length > 1) throw new CulvertError('usage', '--stdio carries one service');
  return { mode: 'stdio', identity, service: parseStreamName(service) };
}

async function overStdio(openStream: OpenStreamFunction, request: ConnectRequest & { mode: 'stdio' }): Promise<number> {
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
