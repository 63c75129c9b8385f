import { X509Certificate } from 'node:crypto';
import { BlockList, isIP, isIPv4, type Socket } from 'node:net';
import { CulvertError, formatHostPort, printable, type Side } from '@culvert/protocol';
import { parseGrantPath } from '@culvert/protocol/grant';
import { certificateOfServer } from './tls-sessions.ts';

/** What one side of a stream has verified about its hub, independent of what the hub claims. */
export interface KnownHub {
  /** The host that this side connected to. */
  readonly host: string;
  /** Returns the hub's verified certificate of that connection; undefined if none was verified. */
  readonly certificate: () => X509Certificate | undefined;
}

/** A host that this side's configuration allows as a gateway. */
interface GatewayPattern {
  /** The host, or the domain without the leading `*.`. */
  readonly host: string;
  readonly wildcard: boolean;
  /** Undefined allows every port. */
  readonly port: number | undefined;
}

/** Maximum patterns in a configuration: one hub has fewer gateways. */
const MAX_PATTERNS = 64;

/** Loopback, unspecified and link-local addresses. A certificate that contains one of them does not show which machine answers at it. */
const LOCAL_ADDRESSES = new BlockList();
for (const [network, bits] of [
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['0.0.0.0', 8],
] as const)
  LOCAL_ADDRESSES.addSubnet(network, bits);
for (const [network, bits] of [
  ['::1', 128],
  ['::', 128],
  ['fe80::', 10],
] as const)
  LOCAL_ADDRESSES.addSubnet(network, bits, 'ipv6');

/**
 * Checks that the URL of a grant leads to a gateway of the hub. A hub names the gateway of each stream; without this check, an attacker who
 * controls the hub could make a device open connections inside the device's own network. Allowed hosts:
 * - the host at which this side is connected to the hub;
 * - the names and addresses in the certificate that the hub presented on that connection, but loopback and link-local ones only if the hub itself
 *   was reached at such an address;
 * - the hosts that `gateways` lists.
 *
 * Every port is allowed, because each port of the hub's host belongs to the hub, and the threads of a gateway may each have a port of their own.
 * The scheme must be `wss` and the path must be that of a grant for this side.
 * @param gateways `HOST` or `*.DOMAIN`, where `*` is one label as in certificates; with `:PORT`, only that port is allowed
 * @throws CulvertError `untrusted`, with one line that names the refused host and how to allow it; `config_invalid` for an invalid pattern
 */
export function assertGateway(url: string, side: Side, hub: KnownHub, gateways: readonly string[] = []): void {
  const target = URL.canParse(url) ? new URL(url) : undefined;
  if (target === undefined || !isGrantUrl(target, side))
    throw new CulvertError('untrusted', `The hub sent an address that is no gateway's: ${printable(url, 200)}.`);
  const host = stripped(target.hostname);
  const port = Number(target.port || 443);
  if (host === hostOf(hub.host) || gateways.some((text) => matches(parseGatewayPattern(text), host, port))) return;
  const certificate = isLocal(host) && !isLocal(hostOf(hub.host)) ? undefined : hub.certificate();
  if (certificate !== undefined && isNamed(certificate, host)) return;
  const where = formatHostPort(host, port);
  const refusal = `The hub names ${where} as its gateway, which is neither the hub's own host nor in its certificate: no connection is made.`;
  const advice = "If it is a gateway, list it (--gateway, or `gateways` in the agent's file and the SDKs).";
  throw new CulvertError('untrusted', `${refusal} ${advice}`);
}

/** Checks all patterns. @throws CulvertError `config_invalid` for more than 64 patterns or an invalid one */
export function assertGatewayPatterns(gateways: readonly string[]): void {
  if (gateways.length > MAX_PATTERNS)
    throw new CulvertError('config_invalid', `gateways: at most ${MAX_PATTERNS} can be listed.`);
  for (const text of gateways) parseGatewayPattern(text);
}

/** Returns a function that parses the verified certificate of a connection's server. It is parsed only on demand: most streams never need it. */
export function verifiedCertificate(connection: Socket): () => X509Certificate | undefined {
  return () => {
    const certificate = certificateOfServer(connection);
    return certificate === undefined ? undefined : new X509Certificate(certificate);
  };
}

function isGrantUrl(url: URL, side: Side): boolean {
  const isPlain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  return url.protocol === 'wss:' && isPlain && parseGrantPath(url.pathname)?.side === side;
}

function parseGatewayPattern(text: string): GatewayPattern {
  const wildcard = text.startsWith('*.');
  const rest = wildcard ? text.slice(2) : text;
  const url = `wss://${rest}`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const isPlain = !/[*/?#@\s]/.test(rest) && rest !== '';
  const host = parsed === undefined ? '' : stripped(parsed.hostname);
  if (parsed === undefined || !isPlain || (wildcard && isIP(host) !== 0)) {
    const shown = printable(text, 100);
    throw new CulvertError('config_invalid', `gateways: '${shown}' is not HOST, *.DOMAIN, HOST:PORT or *.DOMAIN:PORT.`);
  }
  // `URL` reports the scheme's default port, 443, as an empty string.
  const port = parsed.port === '' ? (/:443$/.test(rest) ? 443 : undefined) : Number(parsed.port);
  return { host, wildcard, port };
}

function matches(pattern: GatewayPattern, host: string, port: number): boolean {
  if (pattern.port !== undefined && pattern.port !== port) return false;
  if (!pattern.wildcard) return host === pattern.host;
  const dot = host.indexOf('.');
  return isIP(host) === 0 && dot > 0 && host.slice(dot + 1) === pattern.host;
}

/** Compares names as TLS clients do (RFC 6125): a wildcard stands for one whole label, and the common name is ignored. */
function isNamed(certificate: X509Certificate, host: string): boolean {
  if (isIP(host) !== 0) return certificate.checkIP(host) !== undefined;
  return certificate.checkHost(host, { subject: 'never', partialWildcards: false }) !== undefined;
}

function isLocal(host: string): boolean {
  if (isIP(host) === 0) return host === 'localhost' || host.endsWith('.localhost');
  return LOCAL_ADDRESSES.check(host, isIPv4(host) ? 'ipv4' : 'ipv6');
}

/** Normalises a host as `URL` does: lower case, international letters as punycode, addresses in one notation. */
function hostOf(host: string): string {
  const url = `wss://${formatHostPort(host, 443)}`;
  return URL.canParse(url) ? stripped(new URL(url).hostname) : host;
}

/** Removes the brackets of an IPv6 address and a trailing dot. */
function stripped(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}
