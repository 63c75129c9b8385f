import type * as https from 'node:https';
import { formatHostPort } from '@culvert/protocol';
import { type Clock, systemClock } from './clock.ts';
import { DirectAgent } from './direct-agent.ts';
import { type OutboundOptions, outboundAgent } from './outbound.ts';

/** Where a TLS connection begins. */
export interface Server {
  readonly host: string;
  readonly port: number;
}

/** The server of a `wss:` or `https:` URL. */
export function serverOf(url: URL): Server {
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 443) };
}

/** Milliseconds after which a connection that nobody took is no good: a hub ends those on which nothing was said after ten seconds. */
const FRESH_MS = 5_000;

/**
 * A TLS connection that is begun while it is not yet known whether it will be wanted: a service that asks for a stream is to go to the gateway as soon
 * as the device has said yes, and by then two round trips are behind it. Through a proxy none is begun. Whoever begins it drops it in the end, whether it was
 * used or not.
 */
export class ConnectionAhead {
  readonly #authority: string;
  readonly #clock: Clock;
  readonly #begunAt: number;
  readonly #agent: Promise<DirectAgent | undefined>;

  /** Begins a connection; whether that succeeds nobody is told. */
  constructor(server: Server, outbound: OutboundOptions, clock: Clock = systemClock) {
    this.#authority = formatHostPort(server.host, server.port);
    this.#clock = clock;
    this.#begunAt = clock.now();
    this.#agent = this.#begin(server, outbound);
  }

  /** An agent whose first connection to `target` is this one, where it is to there and fit to be used; else undefined. */
  async agentFor(target: URL): Promise<https.Agent | undefined> {
    const agent = await this.#agent;
    const isFresh = this.#clock.now() - this.#begunAt < FRESH_MS;
    const { host, port } = serverOf(target);
    if (agent !== undefined && isFresh && formatHostPort(host, port) === this.#authority) return agent;
    agent?.destroy();
    return undefined;
  }

  /** It is not wanted any more; one that became a WebSocket's is not touched. Idempotent. */
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
      // A proxy or an authority that cannot be used: whoever dials is told.
    }
    return undefined;
  }
}
