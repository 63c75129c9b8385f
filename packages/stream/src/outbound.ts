import type * as https from 'node:https';
import { CulvertError } from '@culvert/protocol';
import type { ClientCertificate } from './client-certificate.ts';
import { type Clock, systemClock } from './clock.ts';
import { DirectAgent } from './direct-agent.ts';
import type { InnerTls } from './inner-tls.ts';
import { bypassesProxy } from './no-proxy.ts';
import type { OpeningOptions } from './opening.ts';
import { certifiedContext, trustedContext } from './trust.ts';

/** How connections to the hub leave this machine. */
export interface OutboundOptions {
  /** PEM certificates of authorities to trust beside the system's: the hub's own CA. */
  readonly ca?: string;
  /**
   * `http://[user:password@]host:port`, `https://…`, `socks5://…` (names looked up here) or `socks5h://…` (names looked up by the
   * proxy); `false` connects directly. Default: `HTTPS_PROXY`, else `ALL_PROXY`, unless `NO_PROXY` names the hub.
   */
  readonly proxy?: string | false;
  /**
   * Gateways beside those of the hub's own host and of the names in its certificate: `HOST` or `*.DOMAIN` (one label), each with `:PORT` for that port
   * alone; 64 at most. Streams that the hub sends anywhere else are refused.
   */
  readonly gateways?: readonly string[];
  /** The name the hub's certificate must bear, when it is not the URL's. */
  readonly servername?: string;
}

/** What an agent is made from. */
export interface OutboundAgentOptions extends OutboundOptions {
  /** Presented to the server of the URL when it asks for one, never to a proxy. */
  readonly certificate?: ClientCertificate;
  /** Default {@link systemClock}. */
  readonly clock?: Clock;
  /** Called when a connection that is being made has its file descriptor, which a process may run out of. */
  readonly onUnderWay?: (() => void) | undefined;
}

/**
 * An agent for `https.request` and for `ws` that keeps its connections; `destroy()` it when done. A connection opens within ten seconds or fails. The proxy libraries are loaded only when a
 * proxy applies, so that a program without one starts fast.
 * @param env the environment to read the proxy from
 * @throws CulvertError `config_invalid` for a proxy URL, CA or client certificate that cannot be used; never shows the proxy's credentials
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
 * The proxy that connections to `url` go through, without its credentials; undefined when they go directly.
 * @throws CulvertError `config_invalid`
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

/** The proxy that applies to a connection to `url`, if any. */
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
