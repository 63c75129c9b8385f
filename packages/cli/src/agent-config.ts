import { dirname, resolve } from 'node:path';
import { CulvertError, didYouMean, printable } from '@culvert/protocol';
import { assertGatewayPatterns } from '@culvert/stream';
import { parse } from 'yaml';
import { z } from 'zod';
import type { DeviceConnectionFile } from './hub-connection.ts';
import { readSmallFile } from './secret-file.ts';
import { parseAddress, parseServiceAddress } from './service-address.ts';

const ADDRESS_EXPECTED = 'expected HOST:PORT, or a port of this machine, such as 127.0.0.1:80 or 80';
const SERVICES_EXPECTED = 'expected names with an address each, such as ssh: 127.0.0.1:22';

/** The agent's configuration file, in YAML. Unknown keys are errors. Paths are relative to the file. */
export const agentConfigSchema = z.strictObject({
  /** File with the device's connection string. */
  connectionStringFile: z.string().min(1).optional(),
  /** The device's own certificate and its private key, PEM files, for a connection string with `x509=true`. */
  certFile: z.string().min(1).optional(),
  keyFile: z.string().min(1).optional(),
  /** The hub's CA, a PEM file. */
  caFile: z.string().min(1).optional(),
  /** Outbound proxy, `http://…` or `socks5://…`. */
  proxy: z.string().min(1).optional(),
  /** Gateways allowed in addition to the hub's own host and the names in its certificate: `HOST` or `*.DOMAIN`; with `:PORT`, only that port. */
  gateways: z.array(z.string().min(1)).optional(),
  /**
   * Public host keys of this device's SSH server, for the hub to register: paths of `.pub` files; `false`: register none. Default: the host keys of
   * OpenSSH on this machine, if the service `ssh` runs on this machine.
   */
  sshHostKeys: z
    .union([z.literal(false), z.array(z.string().min(1)).max(8)], 'expected a list of up to 8 .pub files, or false')
    .optional(),
  /** The service that is used for stream names not listed in `services`. */
  defaultService: z.string().min(1).optional(),
  /**
   * Seconds that one side of a stream may send nothing after the other side has ended, before the stream fails. A side that keeps sending bytes is not
   * limited. Default 60.
   */
  halfCloseSeconds: z.int().min(1).max(86_400).optional(),
  /**
   * Seconds for which connections are kept while the network between the two ends is lost. The shorter of both ends counts. Default 900, about as long as
   * TCP itself keeps trying; at most a week.
   */
  sessionRetentionSeconds: z.int().min(1).max(604_800).optional(),
  /** This device's key for end-to-end encryption, a PEM file; it is created if it does not exist. Not to be confused with `keyFile`, which the hub sees. */
  endKeyFile: z.string().min(1).optional(),
  /** File of those who may connect, which is read for each link: fingerprints as `culvert trust show` prints them, and certificates of authorities. */
  authorizedServices: z.string('expected the path of a file of fingerprints').min(1).optional(),
  /** Refuse every raw stream and every unencrypted session. */
  requireEncryption: z.boolean().optional(),
  /** The services that the agent offers: each name with `HOST:PORT`, or with a port of 127.0.0.1. */
  services: z.record(z.string(), z.union([z.string(), z.int()], ADDRESS_EXPECTED), SERVICES_EXPECTED).default({}),
});

/** The configuration file after parsing: paths are absolute, addresses are split into host and port. */
export interface AgentConfig extends DeviceConnectionFile {
  /** Absolute paths; false: send no host keys to the hub. */
  readonly sshHostKeys?: readonly string[] | false;
  readonly defaultService?: string;
  readonly halfCloseSeconds?: number;
  readonly sessionRetentionSeconds?: number;
  /** Absolute paths. */
  readonly endKeyFile?: string;
  readonly authorizedServices?: string;
  readonly requireEncryption?: boolean;
  readonly services: ReadonlyMap<string, { readonly host: string; readonly port: number }>;
}

/**
 * Reads the agent's configuration file.
 * @throws CulvertError `config_invalid`: one line with the file, the key and the mistake
 */
export function readAgentConfig(path: string): AgentConfig {
  const text = readSmallFile(path);
  const fail = (problem: string): CulvertError => new CulvertError('config_invalid', `${path}: ${printable(problem)}`);
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw fail(`not YAML: ${error instanceof Error ? (error.message.split('\n', 1)[0] ?? '') : 'unreadable'}`);
  }
  const parsed = agentConfigSchema.safeParse(value ?? {});
  if (!parsed.success) throw fail(firstIssue(parsed.error));
  const {
    connectionStringFile,
    certFile,
    keyFile,
    caFile,
    proxy,
    gateways,
    sshHostKeys,
    defaultService,
    halfCloseSeconds,
    sessionRetentionSeconds,
    endKeyFile,
    authorizedServices,
    requireEncryption,
  } = parsed.data;
  const inPlace = (name: string): string => resolve(dirname(path), name);
  return {
    services: addresses(parsed.data.services, fail),
    ...(connectionStringFile === undefined ? {} : { connectionStringFile: inPlace(connectionStringFile) }),
    ...(certFile === undefined ? {} : { certFile: inPlace(certFile) }),
    ...(keyFile === undefined ? {} : { keyFile: inPlace(keyFile) }),
    ...(caFile === undefined ? {} : { caFile: inPlace(caFile) }),
    ...(proxy === undefined ? {} : { proxy }),
    ...(gateways === undefined ? {} : { gateways: checked(gateways, fail) }),
    ...(sshHostKeys === undefined ? {} : { sshHostKeys: sshHostKeys === false ? false : sshHostKeys.map(inPlace) }),
    ...(defaultService === undefined ? {} : { defaultService }),
    ...(halfCloseSeconds === undefined ? {} : { halfCloseSeconds }),
    ...(sessionRetentionSeconds === undefined ? {} : { sessionRetentionSeconds }),
    ...(endKeyFile === undefined ? {} : { endKeyFile: inPlace(endKeyFile) }),
    ...(authorizedServices === undefined ? {} : { authorizedServices: inPlace(authorizedServices) }),
    ...(requireEncryption === undefined ? {} : { requireEncryption }),
  };
}

function checked(gateways: readonly string[], fail: (problem: string) => CulvertError): readonly string[] {
  try {
    assertGatewayPatterns(gateways);
    return gateways;
  } catch (error) {
    throw fail(CulvertError.from(error).message);
  }
}

function addresses(
  services: Readonly<Record<string, string | number>>,
  fail: (problem: string) => CulvertError,
): AgentConfig['services'] {
  const list = new Map<string, { host: string; port: number }>();
  for (const [name, address] of Object.entries(services)) {
    try {
      list.set(parseServiceAddress(`${name}=0`, 0).name, parseAddress(String(address), 1));
    } catch (error) {
      throw fail(`services.${name}: ${CulvertError.from(error).message}`);
    }
  }
  return list;
}

function firstIssue(error: z.ZodError): string {
  const [issue] = error.issues;
  if (issue === undefined) return 'invalid';
  const where = issue.path.join('.');
  if (issue.code === 'unrecognized_keys') {
    const [key = ''] = issue.keys;
    return `there is no key '${key}'${didYouMean(key, Object.keys(agentConfigSchema.shape))}`;
  }
  return `${where === '' ? '' : `${where}: `}${issue.message}`;
}
