import { existsSync, statSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import {
  CulvertError,
  type DeviceConnectionString,
  parseDeviceConnectionString,
  parseServiceConnectionString,
  type ServiceConnectionString,
} from '@culvert/protocol';
import type { ClientCertificate, OutboundOptions } from '@culvert/stream';
import { defaultDataDirectory } from './data-directory.ts';
import { tell } from './messages.ts';
import { readCertificateFile, readKeyFile, readSecretFile } from './secret-file.ts';

/** The flags that set how a command reaches a hub. */
export interface ConnectionFlags {
  readonly connectionString?: string;
  readonly connectionStringFile?: string;
  readonly dataDir?: string;
  readonly caFile?: string;
  readonly proxy?: string;
  readonly gateway?: readonly string[];
}

/** The flags that set how an agent reaches a hub, and the certificate that it presents. */
export interface DeviceConnectionFlags extends ConnectionFlags {
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** The policies whose connection string is taken from a data directory. Each command uses the one with the fewest permissions that suffice. */
export type PolicyName = 'iothubowner' | 'service' | 'monitor';

/** A hub to reach, and the credential for it. */
export interface HubConnection {
  readonly connectionString: string;
  readonly outbound: OutboundOptions;
}

/** The same for a device, which may authenticate by a certificate. */
export interface DeviceConnection extends HubConnection {
  readonly certificate?: ClientCertificate;
}

/** The connection settings of an agent's configuration file; paths are absolute. */
export interface DeviceConnectionFile {
  readonly connectionStringFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly caFile?: string;
  readonly proxy?: string;
  readonly gateways?: readonly string[];
}

/** A service's or a device's connection, for commands that work from either side. */
export type EitherConnection =
  | (HubConnection & { readonly side: 'service'; readonly address: ServiceConnectionString })
  | (DeviceConnection & { readonly side: 'device'; readonly address: DeviceConnectionString });

/** The environment of the process, so that tests can replace it. */
export interface Surroundings {
  readonly env: NodeJS.ProcessEnv;
  readonly uid: number | undefined;
  readonly home: string;
  readonly warn: (text: string) => void;
}

/** The environment of this process. */
export function surroundings(): Surroundings {
  return { env: process.env, uid: process.getuid?.(), home: homedir(), warn: tell };
}

/**
 * The hub that a service's command connects to: from the flags, else the environment, else the data directory on the hub's own machine.
 * @param policy which shared access policy to use from a data directory
 * @throws CulvertError `usage` when no setting names a hub, `config_invalid` when a file cannot be read or the named directory holds no hub
 */
export function serviceConnection(
  flags: ConnectionFlags,
  policy: PolicyName,
  around: Surroundings = surroundings(),
): HubConnection {
  const { env } = around;
  warnOfPassword(flags, around);
  const given =
    givenString(flags, around) ??
    (flags.dataDir === undefined ? environmentString('CULVERT_CONNECTION_STRING', around) : undefined);
  if (given !== undefined) return { connectionString: given, outbound: outbound(flags, env) };
  const named = flags.dataDir ?? nonEmpty(env['CULVERT_DATA_DIR']);
  const directory = dataDirectoryOf(flags, around);
  const file = join(directory, 'policies', policy);
  if (isMissing(file)) throw noHub(directory, named !== undefined);
  const connectionString = readSecretFile(file, around.warn);
  const reach = outbound(flags, env, join(directory, 'ca.pem'));
  // An outbound proxy from the environment cannot lead back to this machine.
  const direct = flags.proxy === undefined && isLoopback(parseServiceConnectionString(connectionString).host);
  return { connectionString, outbound: direct ? { ...reach, proxy: false } : reach };
}

/** The data directory that flags or environment name, or the default one. */
export function dataDirectoryOf({ dataDir }: ConnectionFlags, { env, uid, home }: Surroundings): string {
  return dataDir ?? nonEmpty(env['CULVERT_DATA_DIR']) ?? defaultDataDirectory(env, uid, home);
}

function noHub(directory: string, named: boolean): CulvertError {
  const elsewhere = '--connection-string-file FILE, CULVERT_CONNECTION_STRING_FILE or CULVERT_CONNECTION_STRING';
  if (named) {
    const text = `there is no hub's data in ${directory}: start the hub with it first, or, for a hub on another machine, use ${elsewhere}`;
    return new CulvertError('config_invalid', text);
  }
  const text = `no hub is named: use ${elsewhere}, or, on the hub's machine, --data-dir DIR (there is no hub's data in ${directory})`;
  return new CulvertError('usage', text);
}

/** Whether a file does not exist. A file that this user may not read counts as existing: reading it then reports the error. */
function isMissing(path: string): boolean {
  try {
    statSync(path);
    return false;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return code === 'ENOENT' || code === 'ENOTDIR';
  }
}

/**
 * The hub that an agent attaches to: from the flags, else the environment, else its configuration file.
 * @param file the connection settings of the agent's configuration file
 * @throws CulvertError `usage` when no setting names a hub, or only one of certificate and key is given; `config_invalid` when a file cannot
 *   be read
 */
export function deviceConnection(
  flags: DeviceConnectionFlags,
  file: DeviceConnectionFile = {},
  around: Surroundings = surroundings(),
): DeviceConnection {
  warnOfPassword(flags, around);
  const connectionString =
    givenString(flags, around) ??
    environmentString('CULVERT_DEVICE_CONNECTION_STRING', around) ??
    (file.connectionStringFile === undefined ? undefined : readSecretFile(file.connectionStringFile, around.warn));
  if (connectionString === undefined) {
    throw new CulvertError(
      'usage',
      "the device's connection string is missing: use --connection-string-file FILE, CULVERT_DEVICE_CONNECTION_STRING_FILE or CULVERT_DEVICE_CONNECTION_STRING (`culvert device create ID` makes one)",
    );
  }
  const caFile = flags.caFile ?? nonEmpty(around.env['CULVERT_CA_FILE']) ?? file.caFile;
  const proxy = flags.proxy ?? file.proxy;
  const gateway = [...(file.gateways ?? []), ...(flags.gateway ?? [])];
  const merged = { gateway, ...(caFile === undefined ? {} : { caFile }), ...(proxy === undefined ? {} : { proxy }) };
  const certificate = ownCertificate(flags, file, around);
  return { connectionString, outbound: outbound(merged, {}), ...(certificate === undefined ? {} : { certificate }) };
}

function ownCertificate(
  flags: DeviceConnectionFlags,
  file: DeviceConnectionFile,
  around: Surroundings,
): ClientCertificate | undefined {
  const certFile = flags.certFile ?? nonEmpty(around.env['CULVERT_DEVICE_CERT_FILE']) ?? file.certFile;
  const keyFile = flags.keyFile ?? nonEmpty(around.env['CULVERT_DEVICE_KEY_FILE']) ?? file.keyFile;
  if (certFile === undefined && keyFile === undefined) return undefined;
  if (certFile === undefined || keyFile === undefined)
    throw new CulvertError('usage', "--cert-file and --key-file belong together: the device's certificate and its key");
  return { cert: readCertificateFile(certFile), key: readKeyFile(keyFile, around.warn) };
}

/**
 * The hub for a command that works from either side. Whether a connection string is a device's or a service's is seen from its content. In the
 * environment, a service's connection string comes first.
 * @throws CulvertError as {@link serviceConnection}; `argument_invalid`
 */
export function eitherConnection(
  flags: DeviceConnectionFlags,
  around: Surroundings = surroundings(),
): EitherConnection {
  const { env } = around;
  const onlyDevice =
    nonEmpty(env['CULVERT_CONNECTION_STRING']) === undefined &&
    nonEmpty(env['CULVERT_CONNECTION_STRING_FILE']) === undefined &&
    (nonEmpty(env['CULVERT_DEVICE_CONNECTION_STRING']) ?? nonEmpty(env['CULVERT_DEVICE_CONNECTION_STRING_FILE'])) !==
      undefined;
  const named = flags.connectionString ?? flags.connectionStringFile ?? flags.dataDir;
  const connection =
    named === undefined && onlyDevice
      ? deviceConnection(flags, {}, around)
      : serviceConnection(flags, 'service', around);
  const { connectionString } = connection;
  if (/(?:^|;)DeviceId=/i.test(connectionString)) {
    const certificate = ownCertificate(flags, {}, around);
    const address = parseDeviceConnectionString(connectionString);
    return { ...connection, ...(certificate === undefined ? {} : { certificate }), side: 'device', address };
  }
  return { ...connection, side: 'service', address: parseServiceConnectionString(connectionString) };
}

/** Whether a host name is one of the usual names of this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function givenString(flags: ConnectionFlags, around: Surroundings): string | undefined {
  const given = [flags.connectionString, flags.connectionStringFile, flags.dataDir].filter(
    (flag) => flag !== undefined,
  );
  if (given.length > 1) {
    throw new CulvertError('usage', 'give only one of --connection-string-file, --connection-string and --data-dir');
  }
  if (flags.connectionString !== undefined) {
    around.warn(
      'warning: --connection-string shows the key in process lists; use --connection-string-file or the environment',
    );
    return flags.connectionString;
  }
  return flags.connectionStringFile === undefined ? undefined : readSecretFile(flags.connectionStringFile, around.warn);
}

function warnOfPassword({ proxy }: ConnectionFlags, around: Surroundings): void {
  if (proxy?.includes('@'))
    around.warn('warning: --proxy shows its password in process lists; use HTTPS_PROXY in the environment');
}

function environmentString(name: string, around: Surroundings): string | undefined {
  const text = nonEmpty(around.env[name]);
  const file = nonEmpty(around.env[`${name}_FILE`]);
  if (text !== undefined && file !== undefined) {
    throw new CulvertError('usage', `both ${name} and ${name}_FILE are set; set only one`);
  }
  return file === undefined ? text : readSecretFile(file, around.warn);
}

function outbound(flags: ConnectionFlags, env: NodeJS.ProcessEnv, dataCa?: string): OutboundOptions {
  const file =
    flags.caFile ??
    nonEmpty(env['CULVERT_CA_FILE']) ??
    (dataCa !== undefined && existsSync(dataCa) ? dataCa : undefined);
  return {
    ...(file === undefined ? {} : { ca: readCertificateFile(file) }),
    ...(flags.proxy === undefined ? {} : { proxy: flags.proxy }),
    ...(flags.gateway === undefined || flags.gateway.length === 0 ? {} : { gateways: flags.gateway }),
  };
}

/** An empty variable counts as unset, since a shell script may easily set a variable to an empty value. */
function nonEmpty(value: string | undefined): string | undefined {
  return value === '' ? undefined : value;
}
