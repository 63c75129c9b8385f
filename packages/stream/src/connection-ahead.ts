import type * as https from 'node:https';
import { formatHostPort } from '@culvert/protocol';
import { type Clock, systemClock } from './clock.ts';
import { DirectAgent } from './direct-agent.ts';
import { type OutboundOptions, outboundAgent } from './outbound.ts';

/** The address of a TLS server. */
export interface Server {
  readonly host: string;
  readonly port: number;
}

/** Returns the server address of a `wss:` or `https:` URL. */
export function serverOf(url: URL): Server {
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 443) };
}

/** Milliseconds after which an unused connection is no longer used: a hub closes a connection on which it received no request for ten seconds. */
const FRESH_MS = 5_000;

/**
 * A TLS connection that is opened before it is known whether it will be needed. A service needs a connection to the gateway as soon as the
 * device accepts; a connection that exists by then saves two round trips. Through a proxy, none is opened ahead. The creator must call
 * `drop()` in the end, whether the connection was used or not.
 */
export class ConnectionAhead {
  readonly #authority: string;
  readonly #clock: Clock;
  readonly #begunAt: number;
  readonly #agent: Promise<DirectAgent | undefined>;

  /** Starts connecting; success or failure is not reported. */
  constructor(server: Server, outbound: OutboundOptions, clock: Clock = systemClock) {
    this.#authority = formatHostPort(server.host, server.port);
    this.#clock = clock;
    this.#begunAt = clock.now();
    this.#agent = this.#begin(server, outbound);
  }

  /** Returns an agent whose next request to `target` uses this connection; undefined if the connection is to another server or unusable. */
  async agentFor(target: URL): Promise<https.Agent | undefined> {
    const agent = await this.#agent;
    const isFresh = this.#clock.now() - this.#begunAt < FRESH_MS;
    const { host, port } = serverOf(target);
    if (agent !== undefined && isFresh && formatHostPort(host, port) === this.#authority) return agent;
    agent?.destroy();
    return undefined;
  }

  /** Closes the connection unless a WebSocket uses it. Idempotent. */
  drop(): void {
    void this.#agent.then((agent) => agent?.destroy());
  }

  async #begin(server: Server, outbound: OutboundOptions): Promise<DirectAgent | undefined> {
    try {
      const agent = await outboundAgent(new URL(`https://${this.#authority}`), { ...outbound, clock: this.#clock });
      if (agent instanceof DirectAgent) {
        agent.connectAhead(server.host, server.port);
        return agent;
      }
      agent.destroy();
    } catch {
      // The proxy or the CA cannot be used. The later dial fails with the same error and reports it.
    }
    return undefined;
  }
}
