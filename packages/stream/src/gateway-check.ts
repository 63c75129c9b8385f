import { X509Certificate } from 'node:crypto';
import { BlockList, isIP, isIPv4, type Socket } from 'node:net';
import { CulvertError, formatHostPort, printable, type Side } from '@culvert/protocol';
import { parseGrantPath } from '@culvert/protocol/grant';
import { certificateOfServer } from './tls-sessions.ts';

/** The hub as an end of a stream knows it, whoever it says that it is. */
export interface KnownHub {
  /** The host that was connected to. */
  readonly host: string;
  /** What it proved itself with on that connection; undefined where nothing was verified. */
  readonly certificate: () => X509Certificate | undefined;
}

/** A host that this side's configuration allows as a gateway. */
interface GatewayPattern {
  /** Without the `*.` before it. */
  readonly host: string;
  readonly wildcard: boolean;
  /** Undefined: any. */
  readonly port: number | undefined;
}

/** Patterns that a configuration may hold: more gateways than one hub has. */
const MAX_PATTERNS = 64;

/** Addresses of this machine itself and of its link: what a certificate says of them says nothing about who answers there. */
const NEAR = new BlockList();
for (const [network, bits] of [
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['0.0.0.0', 8],
] as const)
  NEAR.addSubnet(network, bits);
for (const [network, bits] of [
  ['::1', 128],
  ['::', 128],
  ['fe80::', 10],
] as const)
  NEAR.addSubnet(network, bits, 'ipv6');

/**
 * Refuses to be sent to a host that is no gateway. A hub names the gateway of each stream; without this, whoever has the hub could make a device
 * open connections inside its own network. Let in are: the host that this end itself is connected to; a name that stands in the certificate which the hub
 * proved itself with there (but this machine itself, and its link, only when the hub was reached so); and what `gateways` says. Any port: a host that is
 * the hub's has no port that is not, and a gateway of several threads has a port of its own. Only `wss`, and only the path of a grant of this side.
 * @param gateways `HOST` or `*.DOMAIN`, where `*` is one label as in certificates; with `:PORT`, that port alone
 * @throws CulvertError `untrusted`, one line that says what was refused and how to let it in; `config_invalid` for a pattern that is none
 */
export function assertGateway(url: string, side: Side, hub: KnownHub, gateways: readonly string[] = []): void {
  const target = URL.canParse(url) ? new URL(url) : undefined;
  if (target === undefined || !isGrantUrl(target, side))
    throw new CulvertError('untrusted', `The hub sent an address that is no gateway's: ${printable(url, 200)}.`);
  const host = bare(target.hostname);
  const port = Number(target.port || 443);
  if (host === hostOf(hub.host) || gateways.some((text) => matches(parseGatewayPattern(text), host, port))) return;
  const certificate = isNear(host) && !isNear(hostOf(hub.host)) ? undefined : hub.certificate();
  if (certificate !== undefined && isNamed(certificate, host)) return;
  const where = formatHostPort(host, port);
  const text = `The hub names ${where} as its gateway, which is not the hub's own host and not in its certificate: nothing is sent there. If it is a gateway, list it (--gateway, or \`gateways\` in the agent's file and the SDKs).`;
  throw new CulvertError('untrusted', text);
}

/** @throws CulvertError `config_invalid` for more than 64 patterns or one that is none */
export function assertGatewayPatterns(gateways: readonly string[]): void {
  if (gateways.length > MAX_PATTERNS)
    throw new CulvertError('config_invalid', `gateways: at most ${MAX_PATTERNS} can be listed.`);
  for (const text of gateways) parseGatewayPattern(text);
}

/** Gets the verified certificate of a connection's server on demand: most streams never need it. */
export function verifiedCertificate(connection: Socket): () => X509Certificate | undefined {
  return () => {
    const certificate = certificateOfServer(connection);
    return certificate === undefined ? undefined : new X509Certificate(certificate);
  };
}

function isGrantUrl(url: URL, side: Side): boolean {
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === '';
  return url.protocol === 'wss:' && plain && parseGrantPath(url.pathname)?.side === side;
}

function parseGatewayPattern(text: string): GatewayPattern {
  const wildcard = text.startsWith('*.');
  const rest = wildcard ? text.slice(2) : text;
  const url = `wss://${rest}`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  const plain = !/[*/?#@\s]/.test(rest) && rest !== '';
  const host = parsed === undefined ? '' : bare(parsed.hostname);
  if (parsed === undefined || !plain || (wildcard && isIP(host) !== 0)) {
    const shown = printable(text, 100);
    throw new CulvertError('config_invalid', `gateways: '${shown}' is not HOST, *.DOMAIN, HOST:PORT or *.DOMAIN:PORT.`);
  }
  // The port that a URL of this scheme leaves out.
  const port = parsed.port === '' ? (/:443$/.test(rest) ? 443 : undefined) : Number(parsed.port);
  return { host, wildcard, port };
}

function matches(pattern: GatewayPattern, host: string, port: number): boolean {
  if (pattern.port !== undefined && pattern.port !== port) return false;
  if (!pattern.wildcard) return host === pattern.host;
  const dot = host.indexOf('.');
  return isIP(host) === 0 && dot > 0 && host.slice(dot + 1) === pattern.host;
}

/** As TLS clients compare them (RFC 6125): a wildcard is one whole label, and a common name counts for nothing. */
function isNamed(certificate: X509Certificate, host: string): boolean {
  if (isIP(host) !== 0) return certificate.checkIP(host) !== undefined;
  return certificate.checkHost(host, { subject: 'never', partialWildcards: false }) !== undefined;
}

function isNear(host: string): boolean {
  if (isIP(host) === 0) return host === 'localhost' || host.endsWith('.localhost');
  return NEAR.check(host, isIPv4(host) ? 'ipv4' : 'ipv6');
}

/** A host as a URL has it: lower case, international letters as punycode, addresses in one form. */
function hostOf(host: string): string {
  const url = `wss://${formatHostPort(host, 443)}`;
  return URL.canParse(url) ? bare(new URL(url).hostname) : host;
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
}
