import type * as https from 'node:https';
import { CulvertError } from '@culvert/protocol';
import type { ClientCertificate } from './client-certificate.ts';
import { type Clock, systemClock } from './clock.ts';
import { DirectAgent } from './direct-agent.ts';
import type { InnerTls } from './inner-tls.ts';
import { bypassesProxy } from './no-proxy.ts';
import type { OpeningOptions } from './opening.ts';
import { certifiedContext, trustedContext } from './trust.ts';

/** How this machine connects to the hub and its gateways. */
export interface OutboundOptions {
  /** PEM certificates of additional authorities to trust, such as the hub's own CA. The default authorities remain trusted. */
  readonly ca?: string;
  /**
   * `http://[user:password@]host:port`, `https://…`, `socks5://…` (this machine resolves host names) or `socks5h://…` (the proxy resolves
   * them); `false` connects directly. Default: the environment's `HTTPS_PROXY`, else `ALL_PROXY`, unless `NO_PROXY` matches the host.
   */
  readonly proxy?: string | false;
  /**
   * Allowed gateways besides the hub's own host and the names in its certificate: `HOST` or `*.DOMAIN` (`*` is one label), with `:PORT` to allow
   * that port only; at most 64. A stream that the hub directs to any other host is refused.
   */
  readonly gateways?: readonly string[];
  /** The name that the hub's certificate must contain, if it differs from the URL's host. */
  readonly servername?: string;
}

/** Options of {@link outboundAgent}. */
export interface OutboundAgentOptions extends OutboundOptions {
  /** Presented to the URL's server if it requests a client certificate; never to a proxy. */
  readonly certificate?: ClientCertificate;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Called when a connection that is being opened has its file descriptor: it can then no longer fail for a lack of file descriptors. */
  readonly onUnderWay?: (() => void) | undefined;
}

/**
 * Creates an agent with keep-alive for `https.request` and for `ws`; call its `destroy()` when done. A connection that does not open within ten
 * seconds fails. The proxy libraries are loaded only if a proxy applies, so that a program without a proxy starts fast.
 * @param env the environment variables that contain the proxy
 * @throws CulvertError `config_invalid` for a proxy URL, CA or client certificate that cannot be used; its message never contains the proxy's
 *   credentials
 */
export async function outboundAgent(
  url: URL,
  options: OutboundAgentOptions = {},
  env: NodeJS.ProcessEnv = process.env,
): Promise<https.Agent> {
  const { ca, certificate, servername, clock = systemClock, onUnderWay } = options;
  const opening: OpeningOptions = { clock, onUnderWay };
  const trust = ca === undefined ? undefined : trustedContext(ca);
  const secureContext = certificate === undefined ? trust : certifiedContext(certificate, ca);
  const inner: InnerTls = {
    ...(secureContext === undefined ? {} : { secureContext }),
    ...(servername === undefined ? {} : { servername }),
  };
  const proxy = proxyFor(url, options.proxy, env);
  if (proxy === undefined) return new DirectAgent(inner, opening);
  const { proxyAgent } = await import('./proxy-agent.ts');
  return proxyAgent(proxy, { ...inner, ...(trust === undefined ? {} : { proxyContext: trust }) }, opening);
}

/**
 * Returns the URL of the proxy for connections to `url`, without its credentials; undefined if they use no proxy.
 * @throws CulvertError `config_invalid` for a proxy URL that cannot be used
 */
export function outboundProxy(
  url: URL,
  option: OutboundOptions['proxy'],
  env: NodeJS.ProcessEnv = process.env,
): URL | undefined {
  const proxy = proxyFor(url, option, env);
  if (proxy === undefined) return undefined;
  proxy.username = '';
  proxy.password = '';
  return proxy;
}

/** Returns the proxy for connections to `url`, with its credentials; undefined if they use no proxy. */
export function proxyFor(url: URL, option: string | false | undefined, env: NodeJS.ProcessEnv): URL | undefined {
  if (option === false) return undefined;
  if (option !== undefined) return parseProxy(option, 'The proxy');
  const name = ['HTTPS_PROXY', 'https_proxy', 'ALL_PROXY', 'all_proxy'].find((key) => (env[key] ?? '') !== '');
  if (name === undefined) return undefined;
  const noProxy = env['NO_PROXY'] ?? env['no_proxy'] ?? '';
  return bypassesProxy(url, noProxy) ? undefined : parseProxy(env[name] ?? '', name);
}

const PROXY_SCHEMES = ['http:', 'https:', 'socks5:', 'socks5h:', 'socks:', 'socks4:', 'socks4a:'];

function parseProxy(text: string, source: string): URL {
  const full = text.includes('://') ? text : `http://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  if (url === undefined || url.hostname === '')
    throw new CulvertError('config_invalid', `${source} must be a URL such as http://proxy.example:3128.`);
  if (!PROXY_SCHEMES.includes(url.protocol))
    throw new CulvertError('config_invalid', `${source} must begin with http://, https://, socks5:// or socks5h://.`);
  return url;
}
