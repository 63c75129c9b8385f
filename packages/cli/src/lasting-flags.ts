import { resolve } from 'node:path';
import { formatHostPort, parseServiceConnectionString } from '@culvert/protocol';
import { outboundProxy } from '@culvert/stream';
import {
  type ConnectionFlags,
  dataDirectoryOf,
  isLoopback,
  type Surroundings,
  serviceConnection,
} from './hub-connection.ts';

/**
 * The present flags and environment as flags, for a command line that is stored and run later from any folder and terminal: files have absolute
 * paths, and there is no secret. A proxy's password is left out, with a warning.
 * @returns undefined when the connection string is not in a file
 */
export function lastingFlags(flags: ConnectionFlags, around: Surroundings): ConnectionFlags | undefined {
  const { env } = around;
  const { connectionString: given, dataDir } = flags;
  const inEnvironment = env['CULVERT_CONNECTION_STRING'] || undefined;
  const file =
    flags.connectionStringFile ??
    (dataDir === undefined ? env['CULVERT_CONNECTION_STRING_FILE'] || undefined : undefined);
  const named = file ?? dataDir;
  if (given !== undefined || (named === undefined && inEnvironment !== undefined)) return undefined;
  const quiet = { ...around, warn: () => undefined };
  const { host, port } = parseServiceConnectionString(serviceConnection(flags, 'service', quiet).connectionString);
  const caFile = flags.caFile ?? (env['CULVERT_CA_FILE'] || undefined);
  // The hub on this machine is reached without a proxy.
  const isLocalHub = file === undefined && isLoopback(host);
  const proxy = flags.proxy ?? (isLocalHub ? undefined : proxyOf(host, port));
  const secret = proxy?.includes('@') === true;
  if (secret)
    around.warn('warning: the proxy’s password is not written; set HTTPS_PROXY in the environment in which ssh runs');
  return {
    ...(file === undefined
      ? { dataDir: resolve(dataDirectoryOf(flags, around)) }
      : { connectionStringFile: resolve(file) }),
    ...(caFile === undefined ? {} : { caFile: resolve(caFile) }),
    ...(proxy === undefined || secret ? {} : { proxy }),
  };
}

/** The outbound proxy that `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` set now. */
function proxyOf(host: string, port: number): string | undefined {
  const proxy = outboundProxy(new URL(`https://${formatHostPort(host, port)}`), undefined);
  if (proxy === undefined) return undefined;
  return proxy.href.replace(/\/$/, '');
}
