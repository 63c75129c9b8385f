import type * as https from 'node:https';
import type { Socket } from 'node:net';
import * as tls from 'node:tls';
import { CulvertError } from '@culvert/protocol';
import { HttpsProxyAgent } from 'https-proxy-agent';
import { SocksProxyAgent } from 'socks-proxy-agent';
import { systemClock } from './clock.ts';
import { abortReason, deadline, linkSignals } from './deadline.ts';
import { networkError } from './network-error.ts';
import type { InnerTls } from './outbound.ts';

type TunnelRequest = Parameters<HttpsProxyAgent<string>['connect']>[0];
type TunnelOptions = Parameters<HttpsProxyAgent<string>['connect']>[1];

/** Milliseconds a proxy may take to open the tunnel: most ways to give a request up do not reach into its agent. */
const TUNNEL_MS = 10_000;

/** An agent that connects through `proxy`; imported by `outbound.ts` only when one applies. */
export function proxyAgent(proxy: URL, inner: InnerTls): https.Agent {
  return proxy.protocol.startsWith('socks') ? new SocksTunnelAgent(proxy, inner) : new HttpTunnelAgent(proxy, inner);
}

/**
 * HTTP CONNECT. The library opens the tunnel only: its own TLS inside would forget the extra authority, and the host too, so that a
 * certificate for an address would be compared with `localhost`; and it would pass the proxy's refusal off as the hub's answer.
 */
class HttpTunnelAgent extends HttpsProxyAgent<string> {
  readonly #inner: InnerTls;
  readonly #toProxy: HttpsProxyAgent<string>['connectOpts'];
  readonly #name: string;

  constructor(proxy: URL, inner: InnerTls) {
    super(proxy, { keepAlive: true });
    this.#inner = inner;
    this.#toProxy = this.connectOpts;
    this.#name = `The proxy ${proxy.host}`;
  }

  override async connect(request: TunnelRequest, options: TunnelOptions): Promise<Socket> {
    const limit = deadline(
      systemClock,
      TUNNEL_MS,
      () => new CulvertError('unreachable', `${this.#name} does not answer.`),
    );
    const given = new AbortController();
    request.once('abort', () => given.abort());
    const linked = linkSignals([limit.signal, given.signal]);
    const { signal } = linked;
    let status = 0;
    request.once('proxyConnect', (answer: { statusCode: number }) => {
      status = answer.statusCode;
    });
    try {
      // Read before the first await inside, so each call has its own signal.
      const { secureContext } = this.#inner;
      this.connectOpts = { ...this.#toProxy, ...(secureContext === undefined ? {} : { secureContext }), signal };
      const socket = await super.connect(request, { ...options, secureEndpoint: false });
      if (status === 200) return secured(socket, options, this.#inner);
      socket.destroy();
    } catch (error) {
      throw signal.aborted ? abortReason(signal) : networkError(error, this.#name);
    } finally {
      limit.cancel();
      linked.unlink();
    }
    throw refusal(this.#name, status, options);
  }
}

class SocksTunnelAgent extends SocksProxyAgent {
  readonly #inner: InnerTls;
  readonly #name: string;

  constructor(proxy: URL, inner: InnerTls) {
    super(proxy, { keepAlive: true });
    this.#inner = inner;
    this.#name = `The proxy ${proxy.host}`;
  }

  override async connect(request: TunnelRequest, options: TunnelOptions): Promise<Socket> {
    try {
      const socket = await super.connect(request, { ...options, secureEndpoint: false });
      return secured(socket, options, this.#inner);
    } catch (error) {
      throw networkError(error, this.#name);
    }
  }
}

function secured(socket: Socket, options: TunnelOptions, inner: InnerTls): tls.TLSSocket {
  return tls.connect({ ALPNProtocols: ['http/1.1'], ...options, ...inner, socket });
}

function refusal(name: string, status: number, options: TunnelOptions): CulvertError {
  const text =
    status === 407
      ? 'asks for a user name and password, or does not accept the ones given'
      : `does not connect to ${options.host}:${options.port}`;
  return new CulvertError('unreachable', `${name} ${text} (HTTP ${status}).`);
}
