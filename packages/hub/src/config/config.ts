import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { domainToASCII } from 'node:url';
import { CulvertError, LIMITS, parseHostPort } from '@culvert/protocol';
import { fileProblem } from '@culvert/stream';
import { parse } from 'yaml';
import { z } from 'zod';
import { auditConfig } from './audit-config.ts';
import { firstIssue } from './config-issue.ts';
import { type GatewayAddress, gatewayAddress, gatewayConfig } from './gateway-config.ts';
import type { LogFormat, LogLevel } from './log-format.ts';
import { diagnosticsConfigSchema, logsConfigSchema } from './logs-config.ts';
import { ProxySources } from './proxy-sources.ts';
import { streamLimits } from './stream-limits-config.ts';
import { tracingConfig } from './tracing-config.ts';

const count = (fallback: number) => z.number().int().min(1).max(10_000_000).default(fallback);
const milliseconds = (least: number, fallback: number) => z.number().int().min(least).max(86_400_000).default(fallback);

/** All settings of the hub, in one schema for the file, the environment and the flags. Unknown keys are errors. */
export const configSchema = z.strictObject({
  /** Directory of the registry, the keys and the policies' connection strings; 0700. */
  dataDir: z.string().min(1),
  /** `HOST:PORT` of the main TLS port; without host, all addresses. Port 0 selects a free port. */
  listen: z.string().default(':8443'),
  /**
   * `HOST[:PORT]` names under which clients reach the hub; connection strings and grants contain the first. Default: the listening host, or this machine's
   * name.
   */
  advertise: z.array(z.string()).max(32).default([]),
  /** `HOST:PORT` of MQTT over TLS, usually 8883. Absent: no MQTT listener. */
  mqttListen: z.string().optional(),
  /** `HOST:PORT` of AMQP over TLS, usually 5671. Absent: no AMQP listener. */
  amqpListen: z.string().optional(),
  /**
   * Where client certificates are requested, for devices that have one: keys of listeners (`listen`, `mqttListen`, `amqpListen`), or advertised host names,
   * which apply to the main port. Empty: nowhere. A browser shows its user a dialog when a certificate is requested.
   */
  clientCertificates: z.array(z.string()).max(32).default([]),
  /**
   * Listeners (`listen`, `mqttListen`, `amqpListen`, `gatewayListen`) behind a load balancer that sends the client's address with the PROXY protocol, version 1
   * or 2. Every connection to them must begin with a PROXY header. Needs `proxyProtocolFrom`. See docs/operating/proxy-protocol.md.
   */
  proxyProtocol: z.array(z.string()).max(32).default([]),
  /** Addresses and networks (`192.0.2.0/24`) of those load balancers; connections from other addresses are closed. */
  proxyProtocolFrom: z.array(z.string()).max(256).default([]),
  ...gatewayConfig,
  /** `HOST:PORT` of `/livez`, `/readyz` and `/metrics` in plain HTTP. Without host, 127.0.0.1. */
  adminListen: z.string().default('127.0.0.1:8444'),
  /** Certificate chain and key of the operator, PEM files. Absent: the built-in authority of the data directory issues one. */
  tls: z.strictObject({ certFile: z.string(), keyFile: z.string() }).optional(),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      format: z.enum(['json', 'text']).optional(),
    })
    .prefault({}),
  /** The audit log. See docs/operating/audit.md. */
  audit: auditConfig.prefault({}),
  /** Absent: no traces. See docs/operating/tracing.md. */
  tracing: tracingConfig.optional(),
  limits: z
    .strictObject({
      /** Maximum unauthenticated connections from one address: after an outage, many devices behind one NAT may reconnect at the same time. */
      unauthenticatedPerAddress: count(512),
      /** Maximum unauthenticated connections from all addresses: eight times as many. Each takes about 80 KiB once its TLS handshake has begun. */
      unauthenticatedConnections: count(4_096),
      /** Maximum unanswered offers to one device: a device with more is considered unresponsive. */
      offersPerDevice: count(64),
      /** Maximum requests for streams that are held at the same time: each takes a connection and a timer for up to 60 s. */
      heldRequests: count(10_000),
      /** Maximum open streams, including connections that wait for the other side: each needs file descriptors. */
      streams: count(20_000),
      ...streamLimits,
      /** Milliseconds without a byte after which a stream with one ended direction is closed; at least one second, since a response takes time. */
      halfCloseMs: milliseconds(1_000, LIMITS.halfCloseMs),
      /** Milliseconds without progress of a write after which its stream is ended; at least one second, since slow networks would look stalled. */
      stallMs: milliseconds(1_000, LIMITS.stallMs),
    })
    .prefault({}),
  logs: logsConfigSchema,
  diagnostics: diagnosticsConfigSchema,
  /** Milliseconds that running streams have to end on their own when the hub stops. */
  drainMs: milliseconds(0, 10_000),
});

/** The parsed configuration, with all defaults. */
export type HubConfig = z.infer<typeof configSchema>;
/** The configuration as an operator writes it, before parsing. */
export type HubConfigInput = z.input<typeof configSchema>;

/** The flags of `culvert hub`. */
export interface HubFlags {
  readonly config?: string;
  readonly dataDir?: string;
  readonly listen?: string;
  readonly advertise?: string[];
  readonly mqttListen?: string;
  readonly amqpListen?: string;
  readonly clientCertificates?: string[];
  readonly proxyProtocol?: string[];
  readonly proxyProtocolFrom?: string[];
  readonly gatewayThreads?: string;
  readonly gatewayListen?: string;
  readonly gatewayHost?: string;
  /** False if `--no-gateway-webassembly` is given. */
  readonly gatewayWebassembly?: boolean;
  readonly adminListen?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly logLevel?: string;
  readonly logFormat?: string;
}

/**
 * Determines the configuration. Flags take precedence over the environment (`CULVERT_…`), the environment over the file, and the file over defaults.
 * @param defaultDataDir the data directory when none is configured
 * @throws CulvertError `config_invalid`, with one line that names the key and the reason
 */
export function resolveHubConfig(flags: HubFlags, env: NodeJS.ProcessEnv, defaultDataDir: string): HubConfig {
  const fileName = flags.config ?? env['CULVERT_CONFIG'];
  const file = fileName === undefined ? {} : readConfigFile(fileName);
  const pick = (flag: string | undefined, variable: string) => flag ?? env[variable];
  const pickList = (flag: string[] | undefined, variable: string) =>
    flag ??
    env[variable]
      ?.split(',')
      .map((name) => name.trim())
      .filter((name) => name !== '');
  const cert = pick(flags.tlsCert, 'CULVERT_TLS_CERT');
  const key = pick(flags.tlsKey, 'CULVERT_TLS_KEY');
  if ((cert === undefined) !== (key === undefined)) {
    throw new CulvertError('config_invalid', 'A certificate file and a key file must be given together.');
  }
  const over = defined({
    dataDir: pick(flags.dataDir, 'CULVERT_DATA_DIR'),
    listen: pick(flags.listen, 'CULVERT_LISTEN'),
    advertise: pickList(flags.advertise, 'CULVERT_ADVERTISE'),
    mqttListen: pick(flags.mqttListen, 'CULVERT_MQTT_LISTEN'),
    amqpListen: pick(flags.amqpListen, 'CULVERT_AMQP_LISTEN'),
    clientCertificates: pickList(flags.clientCertificates, 'CULVERT_CLIENT_CERTIFICATES'),
    proxyProtocol: pickList(flags.proxyProtocol, 'CULVERT_PROXY_PROTOCOL'),
    proxyProtocolFrom: pickList(flags.proxyProtocolFrom, 'CULVERT_PROXY_PROTOCOL_FROM'),
    gatewayThreads: numeral(pick(flags.gatewayThreads, 'CULVERT_GATEWAY_THREADS')),
    gatewayListen: pick(flags.gatewayListen, 'CULVERT_GATEWAY_LISTEN'),
    gatewayHost: pick(flags.gatewayHost, 'CULVERT_GATEWAY_HOST'),
    // Commander sets it to true unless the negated flag is given.
    gatewayWebAssembly: flags.gatewayWebassembly === false ? false : truth(env['CULVERT_GATEWAY_WEBASSEMBLY']),
    adminListen: pick(flags.adminListen, 'CULVERT_ADMIN_LISTEN'),
    tls: cert === undefined ? undefined : { certFile: cert, keyFile: key },
  });
  const log = defined({
    level: pick(flags.logLevel, 'CULVERT_LOG_LEVEL'),
    format: pick(flags.logFormat, 'CULVERT_LOG_FORMAT'),
  });
  const fileLog = typeof file['log'] === 'object' && file['log'] !== null ? file['log'] : {};
  const merged = { dataDir: defaultDataDir, ...file, ...over };
  const complete = Object.keys(log).length === 0 ? merged : { ...merged, log: { ...fileLog, ...log } };
  const isInFile = (key: string): boolean => key in file && !(key in over) && (key !== 'log' || complete === merged);
  return checked(complete, (key) => (isInFile(key) ? `configuration file ${fileName}` : 'configuration'));
}

/**
 * Checks a configuration and fills in the defaults.
 * @throws CulvertError `config_invalid`
 */
export function parseHubConfig(input: unknown): HubConfig {
  return checked(input, () => 'configuration');
}

/** @param origin returns the place where a top-level key was set, for the error message */
function checked(input: unknown, origin: (key: string) => string): HubConfig {
  const parsed = configSchema.safeParse(input);
  if (!parsed.success) {
    const { key, text } = firstIssue(configSchema, parsed.error);
    throw new CulvertError('config_invalid', `The ${origin(key)} is invalid: ${text}.`);
  }
  const config = { ...parsed.data, dataDir: resolve(parsed.data.dataDir) };
  for (const [name, value] of Object.entries({
    listen: config.listen,
    mqttListen: config.mqttListen,
    amqpListen: config.amqpListen,
    adminListen: config.adminListen,
  })) {
    if (value !== undefined) parseListen(name, value);
  }
  certificateListeners(config);
  gatewayThreads(config);
  proxiedListeners(config);
  return config;
}

/** Converts a number from a flag or the environment; returns other text unchanged, so that the schema refuses it. */
function numeral(text: string | undefined): number | string | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}

/** Converts `true` and `false` from the environment; returns other text unchanged, so that the schema refuses it. */
function truth(text: string | undefined): boolean | string | undefined {
  return text === 'true' ? true : text === 'false' ? false : text;
}

/** The address of the gateway with several threads, if one is configured. @throws CulvertError `config_invalid` */
export function gatewayThreads(config: Omit<HubConfig, 'log' | 'limits'>): GatewayAddress | undefined {
  const where = (key: 'listen' | 'mqttListen' | 'amqpListen' | 'adminListen') =>
    config[key] === undefined ? undefined : parseListen(key, config[key]);
  return gatewayAddress(config, {
    parseListen,
    others: {
      listen: where('listen'),
      mqttListen: where('mqttListen'),
      amqpListen: where('amqpListen'),
      adminListen: where('adminListen'),
    },
    mainHost: advertisedNames(config, 0)[0]?.host ?? 'localhost',
  });
}

function readConfigFile(name: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(name, 'utf8');
  } catch (error) {
    throw new CulvertError('config_invalid', `The configuration file ${name} cannot be read: ${fileProblem(error)}.`);
  }
  try {
    const value: unknown = parse(text) ?? {};
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch (error) {
    throw new CulvertError(
      'config_invalid',
      `The configuration file ${name} is not YAML: ${(error as Error).message.split('\n', 1)[0]}`,
    );
  }
  throw new CulvertError('config_invalid', `The configuration file ${name} must hold keys and values.`);
}

function defined(values: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}

/** Parses the address of a listener: `HOST:PORT`, `:PORT` or `PORT`; without host, all addresses. */
export function parseListen(key: string, text: string): { host: string | undefined; port: number } {
  const bare = /^:?(\d{1,5})$/.exec(text);
  try {
    if (bare !== null && Number(bare[1]) <= 65_535) return { host: undefined, port: Number(bare[1]) };
    const { host, port } = parseHostPort(text, -1);
    if (port >= 0) return { host, port };
  } catch {
    // The message below is clearer.
  }
  throw new CulvertError('config_invalid', `${key}: '${text}' is not HOST:PORT.`);
}

/** The names under which clients reach the hub, the main one first. A name without port gets `boundPort`. */
export function advertisedNames(
  config: Pick<HubConfig, 'advertise' | 'listen'>,
  boundPort: number,
): { host: string; port: number }[] {
  if (config.advertise.length > 0) {
    return config.advertise.map((name) => {
      try {
        return parseHostPort(name, boundPort);
      } catch {
        throw new CulvertError('config_invalid', `advertise: '${name}' is not HOST or HOST:PORT.`);
      }
    });
  }
  const { host } = parseListen('listen', config.listen);
  const wildcard = host === undefined || host === '0.0.0.0' || host === '::';
  return [{ host: wildcard ? hostname() : host, port: boundPort }];
}

/** The host names for the self-issued certificate. */
export function certificateNames(config: HubConfig): string[] {
  const gateway = gatewayThreads(config);
  return [...advertisedNames(config, 0), ...(gateway === undefined ? [] : [gateway.name])].map(({ host }) => host);
}

/** Listeners that can request client certificates. */
const CERTIFICATE_LISTENERS = ['listen', 'mqttListen', 'amqpListen'] as const;
export type CertificateListener = (typeof CERTIFICATE_LISTENERS)[number];

/** Where client certificates are requested. */
export interface CertificateListeners {
  readonly listeners: ReadonlySet<CertificateListener>;
  /** Host names on the main port, compared with the TLS server name, in the form in which clients send it. */
  readonly hosts: ReadonlySet<string>;
}

/** @throws CulvertError `config_invalid` for an unknown listener, and for a name that is not an advertised host name */
export function certificateListeners(config: Omit<HubConfig, 'log' | 'limits'>): CertificateListeners {
  const listeners = new Set<CertificateListener>();
  const hosts = new Set<string>();
  const advertised = advertisedNames(config, 0).map(({ host }) => domainToASCII(host));
  const refused = (what: string) => new CulvertError('config_invalid', `clientCertificates: ${what}.`);
  for (const entry of config.clientCertificates) {
    const listener = CERTIFICATE_LISTENERS.find((key) => key === entry);
    // In the form in which TLS clients send it: lower case, international letters as punycode. Empty when it is not a host name.
    const host = domainToASCII(entry);
    if (listener !== undefined) {
      if (config[listener] === undefined) throw refused(`there is no listener '${entry}'`);
      listeners.add(listener);
    } else if (isIP(entry) !== 0) {
      throw refused(
        `'${entry}' is an address, but TLS clients send host names: give a host name, or 'listen' for the whole port`,
      );
    } else if (host === '' || !advertised.includes(host)) {
      throw refused(`'${entry}' is neither ${CERTIFICATE_LISTENERS.join(' nor ')} nor an advertised host name`);
    } else hosts.add(host);
  }
  return { listeners, hosts };
}

/** Whether a certificate was requested from a client that connected to this listener with this `servername` (TLS SNI). */
export function asksForCertificate(
  { listeners, hosts }: CertificateListeners,
  listener: CertificateListener,
  { servername }: { readonly servername?: string | false | null },
): boolean {
  return listeners.has(listener) || (listener === 'listen' && hosts.has((servername || '').toLowerCase()));
}

/** Listeners that can be behind a load balancer. */
const PROXIED_LISTENERS = ['listen', 'mqttListen', 'amqpListen', 'gatewayListen'] as const;

/** The listeners whose connections begin with a PROXY header, and the networks from which they accept connections. */
export interface ProxiedListeners {
  readonly listeners: ReadonlySet<(typeof PROXIED_LISTENERS)[number]>;
  readonly from: readonly string[];
}

/** @throws CulvertError `config_invalid` for an unknown listener, for an invalid network, and for one of the two keys without the other */
export function proxiedListeners(config: Omit<HubConfig, 'log' | 'limits'>): ProxiedListeners {
  const { proxyProtocol, proxyProtocolFrom: from } = config;
  const refused = (what: string) => new CulvertError('config_invalid', `${what}.`);
  const listeners = new Set<(typeof PROXIED_LISTENERS)[number]>();
  for (const entry of proxyProtocol) {
    const listener = PROXIED_LISTENERS.find((key) => key === entry);
    if (listener === undefined) {
      throw refused(`proxyProtocol: '${entry}' is none of ${PROXIED_LISTENERS.join(', ')}`);
    }
    if (config[listener] === undefined) throw refused(`proxyProtocol: there is no listener '${entry}'`);
    listeners.add(listener);
  }
  if (listeners.size > 0 && from.length === 0) {
    throw refused('proxyProtocol needs proxyProtocolFrom: the addresses or networks of your load balancers');
  }
  if (listeners.size === 0 && from.length > 0) {
    throw refused('proxyProtocolFrom is for listeners behind a load balancer: name them in proxyProtocol');
  }
  new ProxySources(from);
  return { listeners, from };
}

/** The level and format of the log. The format, when none is configured, is `text` in a terminal and `json` elsewhere. */
export function logOptions(config: HubConfig, isTerminal: boolean): { level: LogLevel; format: LogFormat } {
  return { level: config.log.level, format: config.log.format ?? (isTerminal ? 'text' : 'json') };
}
