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

/** Everything an operator may set, in one schema: for the file, the environment and the flags. Unknown keys are errors. */
export const configSchema = z.strictObject({
  /** Directory of the registry, the keys and the policies' connection strings; 0700. */
  dataDir: z.string().min(1),
  /** `HOST:PORT` of the one TLS port; without host, all addresses. Port 0 takes a free one. */
  listen: z.string().default(':8443'),
  /** `HOST[:PORT]`s under which clients reach the hub; the first is what connection strings and grants carry. Default: the listening host, or this machine's name. */
  advertise: z.array(z.string()).max(32).default([]),
  /** `HOST:PORT` of MQTT over TLS, usually 8883. Absent: no such listener. */
  mqttListen: z.string().optional(),
  /** `HOST:PORT` of AMQP over TLS, usually 5671. Absent: no such listener. */
  amqpListen: z.string().optional(),
  /**
   * Where clients are asked for a certificate, for devices that have one: keys of listeners (`listen`, `mqttListen`, `amqpListen`), or advertised host names,
   * which count on the main port. Empty: nowhere. A browser that is asked shows its user a dialog.
   */
  clientCertificates: z.array(z.string()).max(32).default([]),
  /**
   * Listeners (`listen`, `mqttListen`, `amqpListen`, `gatewayListen`) behind a load balancer that says by the PROXY protocol, version 1 or 2, whose each connection
   * is. Every connection must begin with its header then. Needs `proxyProtocolFrom`. docs/operating/proxy-protocol.md.
   */
  proxyProtocol: z.array(z.string()).max(32).default([]),
  /** Addresses and networks (`192.0.2.0/24`) of those load balancers; connections from elsewhere are closed. */
  proxyProtocolFrom: z.array(z.string()).max(256).default([]),
  ...gatewayConfig,
  /** `HOST:PORT` of `/livez` and `/readyz` in plain HTTP. Without host, 127.0.0.1. */
  adminListen: z.string().default('127.0.0.1:8444'),
  /** Certificate chain and key of the operator, PEM files. Absent: the built-in authority of the data directory issues one. */
  tls: z.strictObject({ certFile: z.string(), keyFile: z.string() }).optional(),
  log: z
    .strictObject({
      level: z.enum(['debug', 'info', 'warn', 'error']).default('info'),
      format: z.enum(['json', 'text']).optional(),
    })
    .prefault({}),
  /** The record of who reached what: docs/operating/audit.md. */
  audit: auditConfig.prefault({}),
  /** Absent: no traces. docs/operating/tracing.md. */
  tracing: tracingConfig.optional(),
  limits: z
    .strictObject({
      /** Connections of one address that have not yet authenticated: many devices may share a NAT's address after an outage. */
      unauthenticatedPerAddress: count(512),
      /** The same over all addresses: eight times as many. Each costs some 80 KiB once its TLS handshake has begun. */
      unauthenticatedConnections: count(4_096),
      /** Offers one device may have unanswered: beyond this it is not answering. */
      offersPerDevice: count(64),
      /** Requests for streams held at once: each holds a connection and a timer for up to 60 s. */
      heldRequests: count(10_000),
      /** Streams open at once, and connections waiting for the other side: each needs file descriptors. */
      streams: count(20_000),
      ...streamLimits,
      /** Milliseconds without a byte in the direction of a stream that goes on after the other has ended; at least a second, as an answer takes a while. */
      halfCloseMs: milliseconds(1_000, LIMITS.halfCloseMs),
      /** Milliseconds without progress of a write before its stream is ended; at least a second, or slow networks look stalled. */
      stallMs: milliseconds(1_000, LIMITS.stallMs),
    })
    .prefault({}),
  logs: logsConfigSchema,
  diagnostics: diagnosticsConfigSchema,
  /** Milliseconds running streams get to end by themselves when the hub stops. */
  drainMs: milliseconds(0, 10_000),
});

/** The configuration as it is used: parsed, complete. */
export type HubConfig = z.infer<typeof configSchema>;
/** The configuration as it may be written. */
export type HubConfigInput = z.input<typeof configSchema>;

/** What `culvert hub` takes on its command line. */
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
  /** False where `--no-gateway-webassembly` stands. */
  readonly gatewayWebassembly?: boolean;
  readonly adminListen?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly logLevel?: string;
  readonly logFormat?: string;
}

/**
 * Flags before environment (`CULVERT_…`) before file before defaults.
 * @param defaultDataDir used when nothing names a data directory
 * @throws CulvertError `config_invalid`: one line that says which key, and why
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
    // Commander gives true unless the negated flag is set.
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

/** @param origin names the place where a top-level key was set */
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

/** A number as flags and environment have it; what is none is left to the schema to refuse. */
function numeral(text: string | undefined): number | string | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : text;
}

/** Yes or no as the environment has it; what is neither is left to the schema to refuse. */
function truth(text: string | undefined): boolean | string | undefined {
  return text === 'true' ? true : text === 'false' ? false : text;
}

/** The gateway of several threads, if one is configured. @throws CulvertError `config_invalid` */
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

/** Where a listener binds: `HOST:PORT`, `:PORT` or `PORT`; no host means every address. */
export function parseListen(key: string, text: string): { host: string | undefined; port: number } {
  const bare = /^:?(\d{1,5})$/.exec(text);
  try {
    if (bare !== null && Number(bare[1]) <= 65_535) return { host: undefined, port: Number(bare[1]) };
    const { host, port } = parseHostPort(text, -1);
    if (port >= 0) return { host, port };
  } catch {
    // The sentence below says it better.
  }
  throw new CulvertError('config_invalid', `${key}: '${text}' is not HOST:PORT.`);
}

/** The names clients reach the hub by, the main one first. A name without port is reached on `boundPort`. */
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

/** The hosts named in the self-issued certificate. */
export function certificateNames(config: HubConfig): string[] {
  const gateway = gatewayThreads(config);
  return [...advertisedNames(config, 0), ...(gateway === undefined ? [] : [gateway.name])].map(({ host }) => host);
}

/** Listeners that may ask for a certificate. */
const CERTIFICATE_LISTENERS = ['listen', 'mqttListen', 'amqpListen'] as const;
export type CertificateListener = (typeof CERTIFICATE_LISTENERS)[number];

/** Where clients are asked for a certificate. */
export interface CertificateListeners {
  readonly listeners: ReadonlySet<CertificateListener>;
  /** On the main port, by TLS server name, as clients write it. */
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
    // As TLS clients say it: lower case, international letters as punycode. Empty when it is no host name.
    const host = domainToASCII(entry);
    if (listener !== undefined) {
      if (config[listener] === undefined) throw refused(`there is no listener '${entry}'`);
      listeners.add(listener);
    } else if (isIP(entry) !== 0) {
      throw refused(
        `'${entry}' is an address, and TLS clients name hosts: give a host name, or 'listen' for the whole port`,
      );
    } else if (host === '' || !advertised.includes(host)) {
      throw refused(`'${entry}' is neither ${CERTIFICATE_LISTENERS.join(' nor ')} nor an advertised host name`);
    } else hosts.add(host);
  }
  return { listeners, hosts };
}

/** Whether a client that came to this listener, naming the host in `servername` (TLS's SNI), was asked for a certificate. */
export function asksForCertificate(
  { listeners, hosts }: CertificateListeners,
  listener: CertificateListener,
  { servername }: { readonly servername?: string | false | null },
): boolean {
  return listeners.has(listener) || (listener === 'listen' && hosts.has((servername || '').toLowerCase()));
}

/** Listeners that a load balancer may stand before. */
const PROXIED_LISTENERS = ['listen', 'mqttListen', 'amqpListen', 'gatewayListen'] as const;

/** Where connections begin with a PROXY header, and from which networks they are taken. */
export interface ProxiedListeners {
  readonly listeners: ReadonlySet<(typeof PROXIED_LISTENERS)[number]>;
  readonly from: readonly string[];
}

/** @throws CulvertError `config_invalid` for a listener there is not, for what is no network, and for one key without the other */
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

/** The log's form when none is configured: readable in a terminal, JSON elsewhere. */
export function logOptions(config: HubConfig, isTerminal: boolean): { level: LogLevel; format: LogFormat } {
  return { level: config.log.level, format: config.log.format ?? (isTerminal ? 'text' : 'json') };
}
