import * as https from 'node:https';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { formatHostPort } from '@culvert/protocol';
import type { InnerTls } from './inner-tls.ts';
import { AGENT_KEEP_ALIVE, stateKeepAlive } from './keep-alive.ts';
import { boundOpening, type OpeningOptions, onceUnderWay } from './opening.ts';
import { knownSession, rememberSessions } from './tls-sessions.ts';

type Created = (error: Error | null, stream?: Duplex) => void;

/** An agent that connects without a proxy, with keep-alive. It can resume TLS sessions that other agents of this process started. */
export class DirectAgent extends https.Agent {
  readonly #inner: InnerTls;
  readonly #opening: OpeningOptions;
  #ahead: { readonly host: string; readonly port: number; readonly socket: Duplex } | undefined;

  constructor(inner: InnerTls, opening: OpeningOptions) {
    // TLS sessions are stored outside the agent (`tls-sessions.ts`), each with the certificate that was verified when it started.
    super({ ...AGENT_KEEP_ALIVE, maxCachedSessions: 0, ...inner });
    this.#inner = inner;
    this.#opening = opening;
  }

  /** Opens a connection. The agent's next request uses it, if it is to the same server and the connection is still open. `destroy()` closes it. */
  connectAhead(host: string, port: number): void {
    // As for a request: SNI contains a host name, never an IP address (RFC 6066 §3).
    const servername = this.#inner.servername ?? (isIP(host) === 0 ? host : '');
    const socket = this.createConnection({ ...this.options, host, port, servername }, () => undefined);
    // The request that uses the connection adds its own listener. If the connection has failed before then, the request opens another one.
    socket?.on('error', () => undefined);
    this.#ahead = socket instanceof TLSSocket ? { host, port, socket } : undefined;
  }

  override destroy(): void {
    this.#ahead?.socket.destroy();
    this.#ahead = undefined;
    super.destroy();
  }

  override createConnection(options: https.RequestOptions, created: Created): Duplex | null | undefined {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead !== undefined) {
      const fits = ahead.host === options.host && ahead.port === Number(options.port);
      if (fits && ahead.socket.writable) return ahead.socket;
      ahead.socket.destroy();
    }
    const { secureContext, servername = '' } = this.#inner;
    const server = { host: options.host ?? '', port: Number(options.port), servername };
    const session = knownSession(secureContext, server);
    const resuming: https.RequestOptions & { session?: Buffer } =
      session === undefined ? options : { ...options, session };
    const socket = super.createConnection(resuming, created);
    if (socket instanceof TLSSocket) {
      const { clock, onUnderWay } = this.#opening;
      rememberSessions(socket, secureContext, server);
      stateKeepAlive(socket, 'dialled');
      boundOpening(socket, formatHostPort(server.host, server.port), clock);
      if (onUnderWay !== undefined) onceUnderWay(socket, onUnderWay);
    }
    return socket;
  }
}
