import {
  CONTROL_PATH,
  type CulvertError,
  type DeviceConnectionString,
  formatAuthority,
  formatHostPort,
  type ServiceConnectionString,
} from '@culvert/protocol';
import { ECHO_SERVICE } from '@culvert/proxy/agent';
import { ServiceClient } from '@culvert/service';
import { KnownDevices } from '@culvert/session/keys';
import { dialWebSocket, outboundProxy, systemClock } from '@culvert/stream';
import { checkControlChannel } from '../doctor/attach-as-device.ts';
import { type Check, Examination, type Found } from '../doctor/check.ts';
import { checkDeviceToken, hasDeviceToken, isTaken } from '../doctor/device-token.ts';
import { measureEcho, measureGateway } from '../doctor/echo-measure.ts';
import {
  certificateAskedCheck,
  certificateCheck,
  clockCheck,
  endpointCheck,
  MAKE_IT_ASK,
  SET_CLOCK,
} from '../doctor/hub-checks.ts';
import { type CertificateFault, certificateFault, type HubProbe, probeHub } from '../doctor/hub-probe.ts';
import { elapsedMs, type FirstHop, lookUp, reach } from '../doctor/network.ts';
import { type ServiceUser, tryAll, tryOne } from '../doctor/services.ts';
import { sessionCheck } from '../doctor/session-check.ts';
import { type TrustFlags, trustOptions, userFiles } from '../end-keys.ts';
import {
  type DeviceConnectionFlags,
  type EitherConnection,
  eitherConnection,
  surroundings,
} from '../hub-connection.ts';
import { advised, tell } from '../messages.ts';
import { type OutputFormat, writeJson, writeOut } from '../standard-output.ts';

/** Flags of `culvert doctor`. */
export interface DoctorFlags extends DeviceConnectionFlags, TrustFlags {
  /** Services to test instead of all services that the agent offers. */
  readonly service?: readonly string[];
  /** The stream name of an echo service, for devices without an agent. */
  readonly echo?: string;
  /** Whether to measure the throughput too. */
  readonly throughput?: boolean;
  readonly module?: string;
  readonly attach?: boolean;
  readonly output: OutputFormat;
}

/** `culvert doctor`: checks everything between this machine and a device, and reports faults with advice. Resolves to the exit code. */
export async function doctor(device: string | undefined, flags: DoctorFlags): Promise<number> {
  const connection = eitherConnection(flags);
  const examination = new Examination((check) => (flags.output === 'json' ? undefined : writeOut(line(check))));
  const probe = await examineNetwork(examination, connection);
  if (connection.side === 'service') await examineService(examination, connection, device, flags);
  else await examineDevice(examination, connection, probe, flags);
  const { checks, exitCode } = examination;
  if (flags.output === 'json') await writeJson({ side: connection.side, ok: exitCode === 0, checks });
  const firstFailure = checks.find(({ status }) => status === 'failed');
  if (firstFailure !== undefined)
    tell(
      `${firstFailure.name} is where it breaks: ${sentence(firstFailure.found)}${firstFailure.advice ? ` ${firstFailure.advice}` : ''}`,
    );
  else if (flags.output === 'table') tell(conclusion(checks, device === undefined && connection.side === 'service'));
  return exitCode;
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

function conclusion(checks: readonly Check[], asFarAsHub: boolean): string {
  const warned = checks.filter(({ status }) => status === 'warning').map(({ name }) => name);
  const well = warned.length === 0 ? 'all is well' : `all works, but look at ${warned.join(', ')}`;
  if (!asFarAsHub) return well;
  return `${well} as far as the hub; name a device to try a stream to it: culvert doctor DEVICE`;
}

async function examineNetwork(
  examination: Examination,
  { address, outbound }: EitherConnection,
): Promise<HubProbe | undefined> {
  const { host, port } = address;
  const url = new URL(`https://${formatHostPort(host, port)}`);
  let hop: FirstHop = { host, port, isProxy: false };
  await examination.look('proxy', [], () => {
    const proxy = outboundProxy(url, outbound.proxy);
    if (proxy === undefined) return Promise.resolve({ found: 'none applies: the hub is dialled directly' });
    hop = {
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: Number(proxy.port) || defaultPort(proxy),
      isProxy: true,
    };
    return Promise.resolve({ found: `${proxy.protocol}//${proxy.host} stands between`, data: { proxy: proxy.host } });
  });
  await examination.look(
    'name',
    ['proxy'],
    () => lookUp(hop),
    () => 'Is the HostName of the connection string right, and does this machine’s DNS know it?',
  );
  await examination.look(
    'port',
    ['name'],
    () => reach(hop),
    () =>
      hop.isProxy
        ? 'Is the proxy running, and the address right?'
        : 'Is the hub running, the port right, and does a firewall between let it through?',
  );
  let probe: HubProbe | undefined;
  const probed = () => {
    if (probe === undefined) throw new Error('The hub has not been probed yet.');
    return probe;
  };
  let receivedAt = 0;
  await examination.look(
    'TLS',
    ['port'],
    async () => {
      probe = await probeHub(host, port, outbound);
      receivedAt = Date.now();
      return certificateCheck(probe, receivedAt);
    },
    (error) =>
      error.code === 'untrusted'
        ? CERTIFICATE_ADVICE[certificateFault(error)]
        : 'Is it the port of the hub? What listens there may speak no TLS.',
  );
  await examination.look('hub', ['TLS'], async () => endpointCheck(probed()));
  await examination.look('clock', ['TLS'], async () => clockCheck(probed(), receivedAt));
  return probe;
}

const CERTIFICATE_ADVICE: Readonly<Record<CertificateFault, string>> = {
  time: 'Set the clock of this machine if it is wrong (NTP); if it is right, the hub’s certificate has to be renewed.',
  name: 'Put one of those names into the connection string, or have the hub advertise this one (culvert hub --advertise).',
  authority:
    'A hub with its own authority wants its ca.pem (--ca-file, CULVERT_CA_FILE). A signer you do not know may be a proxy that looks into TLS: trust its authority, or have it let the hub through.',
  other: 'Let the hub’s administrator look at its certificate.',
};

async function examineService(
  examination: Examination,
  { address, connectionString, outbound }: EitherConnection & { side: 'service' },
  device: string | undefined,
  flags: DoctorFlags,
): Promise<void> {
  // A device may list who may connect. Pins are not asked: what is measured carries nothing of the user's. An authority that the user names is.
  const { knownDevices: _, ...session } = await trustOptions(flags, surroundings());
  const client = ServiceClient.fromConnectionString(connectionString, { outbound, session });
  const rawClient = ServiceClient.fromConnectionString(connectionString, { outbound, session: false });
  try {
    await examination.look('credential', ['hub'], () => serviceCredential(client), adviceOf);
    if (device === undefined) return;
    const user = { client, device, moduleId: flags.module };
    await examination.look('stream', ['credential'], () => echoStream(user, rawClient, flags), adviceOf);
    await examination.look('session', ['stream'], async () => {
      const hub = formatAuthority(address.host, address.port).toLowerCase();
      const pins = new KnownDevices(userFiles(surroundings()).knownDevices, systemClock);
      const pin = await pins.find({ hub, deviceId: device, moduleId: flags.module });
      return sessionCheck(client.connectionTo(device, flags.module), pin);
    });
    if (flags.service === undefined) return await tryAll(examination, user);
    for (const name of flags.service)
      await examination.look(`service ${name}`, ['stream'], () => tryOne(user, name), adviceOf);
  } finally {
    client.close();
    rawClient.close();
  }
}

/** Makes a request that needs a rare permission. A reply that the permission is missing also shows that the credential was accepted. */
async function serviceCredential(client: ServiceClient): Promise<Found> {
  try {
    await client.devices.listPage({ top: 1 });
  } catch (error) {
    if (!isTaken(error as CulvertError)) throw error;
  }
  return { found: 'the hub accepts it' };
}

/**
 * Measures a stream to an echo service. If the device rejects every echo service, it was still reached, so the check succeeds with a warning.
 * @param rawClient opens raw streams also to a device that must be encrypted: the gateway is measured with pings on one
 */
async function echoStream(
  { client, device, moduleId }: ServiceUser,
  rawClient: ServiceClient,
  { echo, throughput = false }: DoctorFlags,
): Promise<Found> {
  const started = performance.now();
  const names = echo === undefined ? [ECHO_SERVICE, 'echo'] : [echo];
  let reason = '';
  for (const name of names) {
    try {
      const options = { name, ...(moduleId === undefined ? {} : { moduleId }) };
      const stream = await client.openStream(device, options);
      const openedMs = elapsedMs(started);
      // Its errors are also those of the measurement.
      stream.on('error', () => undefined);
      try {
        const gatewayMs = await gatewayRoundTrip(() => rawClient.openWebSocket(device, options));
        const { found, data } = await measureEcho(stream, gatewayMs, throughput);
        return { found: `'${name}' opened in ${openedMs} ms; ${found}`, data: { openedMs, service: name, ...data } };
      } finally {
        stream.resume().end();
      }
    } catch (error) {
      // An agent of another version, or a device that uses an SDK, may have an echo service of another name.
      if ((error as CulvertError).code !== 'rejected') throw error;
      reason = (error as CulvertError).message;
    }
  }
  const found = `the device answers, but has no echo to measure with: ${reason}`;
  return { found, warning: true, advice: 'If it has one by another name: --echo NAME' };
}

/** Undefined if the device takes no raw stream, on which alone the gateway can be asked. */
async function gatewayRoundTrip(open: () => ReturnType<ServiceClient['openWebSocket']>): Promise<number | undefined> {
  try {
    const socket = await open();
    try {
      socket.on('error', () => undefined);
      socket.resume();
      return await measureGateway(socket);
    } finally {
      socket.close(1000);
    }
  } catch {
    return undefined;
  }
}

async function examineDevice(
  examination: Examination,
  connection: EitherConnection & { side: 'device' },
  probe: HubProbe | undefined,
  flags: DoctorFlags,
): Promise<void> {
  const { address, connectionString, outbound, certificate } = connection;
  const asked = probe !== undefined && address.x509 === true ? probe : undefined;
  if (asked !== undefined) await examineCertificate(examination, asked, address.host);
  await examination.look('websocket', ['hub'], () => webSocketPasses(address, outbound));
  await examination.look(
    'credential',
    ['hub'],
    async () => {
      if (!hasDeviceToken(address)) return { found: 'not tried without attaching: use --attach', warning: true };
      await checkDeviceToken(address, outbound);
      return { found: `the hub accepts it for ${address.deviceId}` };
    },
    adviceOf,
  );
  if (flags.attach !== true) return;
  await examination.look(
    'control channel',
    ['websocket'],
    () => checkControlChannel({ connectionString, outbound, ...(certificate === undefined ? {} : { certificate }) }),
    adviceOf,
  );
}

async function examineCertificate(examination: Examination, probe: HubProbe, host: string): Promise<void> {
  await examination.look(
    'certificate',
    ['hub'],
    async () => certificateAskedCheck(probe, host) ?? { found: 'the hub does not report whether it asks for one' },
    () => MAKE_IT_ASK,
  );
}

/** Opens a WebSocket and closes it before any credential is sent: a proxy that passes HTTPS may still block WebSockets. */
async function webSocketPasses(
  { host, port }: DeviceConnectionString | ServiceConnectionString,
  outbound: EitherConnection['outbound'],
): Promise<Found> {
  const started = performance.now();
  const socket = await dialWebSocket(`wss://${formatHostPort(host, port)}${CONTROL_PATH}`, {
    outbound,
    protocols: ['mqtt'],
  });
  const ms = elapsedMs(started);
  socket.terminate();
  return { found: `passes (${ms} ms)`, data: { ms } };
}

function adviceOf(error: CulvertError): string | undefined {
  if (error.code === 'token_expired') return SET_CLOCK;
  const text = advised(error).slice(error.message.length).trim();
  return text === '' ? undefined : text;
}

function defaultPort({ protocol }: URL): number {
  return protocol === 'http:' ? 80 : protocol === 'https:' ? 443 : 1080;
}

const MARKS = { ok: 'ok     ', warning: 'WARNING', failed: 'FAILED ', skipped: 'skipped' } as const;

function line({ name, status, found, advice }: Check): string {
  return `${MARKS[status]}  ${name.padEnd(15)}  ${found}${advice === undefined ? '' : `\n${' '.repeat(26)}${advice}`}\n`;
}
