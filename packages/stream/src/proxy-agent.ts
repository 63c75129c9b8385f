import * as http from 'node:http';
import * as https from 'node:https';
import { isIP, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import * as tls from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import { SocksProxyAgent } from 'socks-proxy-agent';
import { abortReason, deadline, linkSignals } from './deadline.ts';
import { destroyConnection } from './destroy-connection.ts';
import type { InnerTls } from './inner-tls.ts';
import { AGENT_KEEP_ALIVE, stateKeepAlive } from './keep-alive.ts';
import { networkError } from './network-error.ts';
import { boundOpening, OPEN_MS, type OpeningOptions, onceUnderWay } from './opening.ts';
import { knownSession, rememberSessions } from './tls-sessions.ts';

/** Creates an agent that connects through `proxy`. `outbound.ts` imports this module only if a proxy applies. */
export function proxyAgent(proxy: URL, inner: InnerTls, opening: OpeningOptions): https.Agent {
  return proxy.protocol.startsWith('socks')
    ? new SocksTunnelAgent(proxy, inner, opening)
    : new HttpTunnelAgent(proxy, inner, opening);
}

type ConnectionCallback = (error: Error | null, stream?: Duplex) => void;

/** Connects with HTTP CONNECT (RFC 9110 §9.3.6). It uses Node's own HTTP client, whose request can be aborted while the proxy does not answer. */
class HttpTunnelAgent extends https.Agent {
  readonly #proxy: URL;
  readonly #inner: InnerTls;
  readonly #opening: OpeningOptions;
  readonly #destroyed = new AbortController();

  constructor(proxy: URL, inner: InnerTls, opening: OpeningOptions) {
    super(AGENT_KEEP_ALIVE);
    this.#proxy = proxy;
    this.#inner = inner;
    this.#opening = opening;
  }

  override createConnection(options: https.RequestOptions, callback: ConnectionCallback): undefined {
    const host = options.host ?? '';
    this.#open(`${host.includes(':') ? `[${host}]` : host}:${options.port}`).then(
      (socket) => callback(null, secured(socket, host, this.#inner, this.#opening)),
      callback,
    );
  }

  override destroy(): void {
    this.#destroyed.abort();
    super.destroy();
  }

  async #open(target: string): Promise<Socket> {
    const name = `The proxy ${this.#proxy.host}`;
    const limit = deadline(
      this.#opening.clock,
      OPEN_MS,
      () => new CulvertError('unreachable', `${name} does not answer.`),
    );
    const { signal, unlink } = linkSignals([limit.signal, this.#destroyed.signal]);
    try {
      return await this.#connect(target, name, signal);
    } catch (error) {
      throw signal.aborted ? abortReason(signal) : networkError(error, name);
    } finally {
      limit.cancel();
      unlink();
    }
  }

  /** TLS options for the proxy. Without an explicit server name, Node would check the proxy's certificate against the Host header, which names the hub. */
  #tlsToProxy(host: string): https.RequestOptions {
    const { proxyContext } = this.#inner;
    return { servername: serverName(host), ...(proxyContext === undefined ? {} : { secureContext: proxyContext }) };
  }

  #connect(target: string, name: string, signal: AbortSignal): Promise<Socket> {
    const { protocol, hostname, port, username, password } = this.#proxy;
    const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
    const headers = {
      Host: target,
      ...(credentials === ':' ? {} : { 'Proxy-Authorization': `Basic ${Buffer.from(credentials).toString('base64')}` }),
    };
    const host = hostname.replace(/^\[|\]$/g, '');
    const options = { host, method: 'CONNECT', path: target, headers, signal };
    const { onUnderWay } = this.#opening;
    const request =
      protocol === 'https:'
        ? https.request({
            ...{ ...options, ...this.#tlsToProxy(host), port: port || 443 },
            agent: withUnderWayCallback(new https.Agent(), onUnderWay),
          })
        : http.request({ ...options, port: port || 80, agent: withUnderWayCallback(new http.Agent(), onUnderWay) });
    return new Promise((resolve, reject) => {
      request.on('error', reject);
      request.on('connect', (response, socket) => {
        if (response.statusCode === 200) {
          resolve(socket);
          return;
        }
        destroyConnection(socket);
        reject(refusal(name, response.statusCode ?? 0, target));
      });
      request.end();
    });
  }
}

/** Makes an agent call `onUnderWay` for its sockets. A request's own 'socket' event is too late: the socket has begun to connect by then. */
function withUnderWayCallback<A extends http.Agent>(agent: A, onUnderWay: (() => void) | undefined): A {
  if (onUnderWay === undefined) return agent;
  const create = agent.createConnection.bind(agent);
  agent.createConnection = (...args) => {
    const socket = create(...args);
    if (socket instanceof Socket) onceUnderWay(socket, onUnderWay);
    return socket;
  };
  return agent;
}

type SocksRequest = Parameters<SocksProxyAgent['connect']>[0];
type SocksOptions = Parameters<SocksProxyAgent['connect']>[1];

/** The library opens only the tunnel. Its own TLS would lose the host and compare the certificate of an IP address with `localhost`. */
class SocksTunnelAgent extends SocksProxyAgent {
  readonly #inner: InnerTls;
  readonly #opening: OpeningOptions;
  readonly #name: string;

  constructor(proxy: URL, inner: InnerTls, opening: OpeningOptions) {
    super(proxy, AGENT_KEEP_ALIVE);
    // Set here and not in the options, where it would limit every request of the agent.
    this.timeout = OPEN_MS;
    this.#inner = inner;
    this.#opening = opening;
    this.#name = `The proxy ${proxy.host}`;
  }

  override async connect(request: SocksRequest, options: SocksOptions): Promise<Socket> {
    try {
      const socket = await super.connect(request, { ...options, secureEndpoint: false });
      // Otherwise the library would apply the opening timeout to the open tunnel and end it when it is idle.
      socket.setTimeout(0);
      // The library reports nothing earlier. A connected socket has its file descriptor.
      this.#opening.onUnderWay?.();
      return secured(socket, options.host ?? '', this.#inner, this.#opening);
    } catch (error) {
      throw networkError(error, this.#name);
    }
  }
}

function secured(
  socket: Socket,
  host: string,
  { proxyContext: _, ...inner }: InnerTls,
  { clock }: OpeningOptions,
): tls.TLSSocket {
  stateKeepAlive(socket, 'dialled');
  const server = { host, port: 0, servername: inner.servername ?? '' };
  const session = knownSession(inner.secureContext, server);
  const options = { socket, host, ALPNProtocols: ['http/1.1'], servername: serverName(host), ...inner };
  const secure = tls.connect(session === undefined ? options : { ...options, session });
  rememberSessions(secure, inner.secureContext, server);
  boundOpening(secure, host, clock);
  return secure;
}

/** The value for SNI, which may contain a host name but no IP address (RFC 6066 §3). */
function serverName(host: string): string {
  return isIP(host) === 0 ? host : '';
}

function refusal(name: string, status: number, target: string): CulvertError {
  const text =
    status === 407
      ? 'asks for a user name and password, or does not accept the ones given'
      : `does not connect to ${target}`;
  return new CulvertError('unreachable', `${name} ${text} (HTTP ${status}).`);
}
