import { DeviceClient, type SessionKeyOptions } from '@culvert/device';
import { CulvertError } from '@culvert/protocol';
import { type Clock, systemClock } from '@culvert/stream';
import { deferred } from '../deferred.ts';
import { OpenStreams } from '../open-streams.ts';
import { type AgentAddress, AgentConnection, type CreateClient } from './agent-connection.ts';
import type { AgentEvent, Target } from './agent-events.ts';
import { answerOffer } from './answer-offer.ts';

/** Maximum open streams by default. They need about 2,000 sockets, clearly fewer than the usual limit of open files. */
export const MAX_STREAMS = 1000;

/** Milliseconds that open streams may take to end when the agent is closed. */
export const CLOSE_GRACE_MS = 10_000;

/** What the other ends are told when the agent is closed. */
const STOPPING = 'The agent is stopping.';

/** The services that an agent offers. */
export interface AgentServices {
  /** The targets by stream name. The agent connects to no other target. */
  readonly services: ReadonlyMap<string, Target>;
  /** The service for stream names that are not in the list (Azure's clients send `TestStream`). It must itself be in the list. */
  readonly defaultService?: string;
}

export interface AgentOptions extends AgentAddress, AgentServices {
  /** Public keys of this device's SSH server, which the hub registers; default none. */
  readonly sshHostKeys?: readonly string[];
  /** See `DeviceClientOptions.halfCloseMs`: milliseconds, default 60,000. */
  readonly halfCloseMs?: number;
  /** See `SessionServerOptions.retentionSeconds`: seconds, default 900. */
  readonly sessionRetentionSeconds?: number;
  /** The agent's key, and which service sides it accepts; default: no key, so nothing is encrypted end to end. */
  readonly sessionKeys?: SessionKeyOptions;
  /** Reads the files with the address again after each refusal by the hub; returns undefined if they cannot be read. Must not throw. */
  readonly readAgain?: () => AgentAddress | undefined;
  readonly onEvent?: (event: AgentEvent) => void;
  readonly clock?: Clock;
  /** Maximum open streams, default {@link MAX_STREAMS}; further offers are rejected. */
  readonly maxStreams?: number;
}

/** A running agent. */
export interface Agent {
  /** Resolves when attached to the hub for the first time; rejects as `closed` does, and if the agent is closed before. */
  readonly attached: Promise<void>;
  /**
   * Resolves when the agent has been closed with `close()` or `destroy()`; rejects with `config_invalid` if the given proxy, CA or certificate
   * cannot be used. Errors of the hub or the network never end an agent: it waits and retries.
   */
  readonly closed: Promise<void>;
  /** Number of open streams. */
  readonly streams: number;
  /**
   * Offers these services from now on. Open streams continue, even those to a service that is no longer offered. If `address` has changed, the
   * agent opens a new connection; it closes the old one when the new one is established, or when the old one has failed.
   * @throws CulvertError as {@link startAgent}; nothing is changed then
   */
  reload(services: AgentServices, address?: AgentAddress): void;
  /** Takes no new offers, waits up to `graceMs` (default {@link CLOSE_GRACE_MS}) for open streams to end, then ends the others with a reason. */
  close(graceMs?: number): Promise<void>;
  /** Ends all streams now and closes the agent. */
  destroy(reason: CulvertError): Promise<void>;
}

/**
 * Starts the device-local proxy: it attaches as a device, and connects offered streams to the local targets of its list. It continues after the
 * end of a stream, a restart of the hub, a loss of the network, and a refusal by the hub.
 * @throws CulvertError `config_invalid` if `defaultService` is not in the list, `argument_invalid` for an invalid connection string
 */
export function startAgent(
  options: AgentOptions,
  createClient: CreateClient = (text, clientOptions) => DeviceClient.fromConnectionString(text, clientOptions),
): Agent {
  const { clock = systemClock, onEvent = () => undefined } = options;
  assertDefault(options);
  let offered: AgentServices = options;
  const streams = new OpenStreams(options.maxStreams ?? MAX_STREAMS);
  const attached = deferred();
  const closed = deferred();
  // A rejection must not end the process if no code awaits the promise.
  attached.promise.catch(() => undefined);
  closed.promise.catch(() => undefined);
  const connection = new AgentConnection(options, {
    createClient,
    common: {
      onStream: (offer) => {
        const { services, defaultService } = offered;
        return answerOffer(offer, { services, defaultService, streams, clock, onEvent });
      },
      clock,
      ...(options.sshHostKeys === undefined ? {} : { sshHostKeys: options.sshHostKeys }),
      ...(options.halfCloseMs === undefined ? {} : { halfCloseMs: options.halfCloseMs }),
    },
    session: {
      ...options.sessionKeys,
      ...(options.sessionRetentionSeconds === undefined ? {} : { retentionSeconds: options.sessionRetentionSeconds }),
      onEvent,
    },
    readAgain: options.readAgain,
    onEvent,
    onAttached: () => attached.resolve(),
    onFailed: (error) => {
      attached.reject(error);
      closed.reject(error);
    },
  });
  connection.open();
  const end = async (graceMs: number): Promise<void> => {
    attached.reject(new CulvertError('aborted', 'The agent was closed.'));
    const graceEnds = clock.now() + graceMs;
    await connection.close();
    // The other ends are told the reason before their connections are reset.
    await streams.drain(graceMs, clock, STOPPING, () => void connection.endSessions(STOPPING));
    // A connection that has ended may have left bytes that are still to be sent.
    await connection.sessionsDrained(graceEnds - clock.now());
    await connection.endSessions(STOPPING);
    closed.resolve();
  };
  return {
    attached: attached.promise,
    closed: closed.promise,
    get streams() {
      return streams.size;
    },
    reload(next, address) {
      assertDefault(next);
      const reconnects = address !== undefined && connection.replace(address);
      const before = offered.services;
      offered = next;
      const names = [...next.services.keys()];
      const added = names.filter((name) => !before.has(name));
      const removed = [...before.keys()].filter((name) => !next.services.has(name));
      onEvent({ type: 'reloaded', services: names, added, removed, connection: reconnects });
    },
    close: (graceMs = CLOSE_GRACE_MS) => end(graceMs),
    destroy: async (reason) => {
      const told = connection.endSessions(reason.message);
      streams.destroy(reason);
      await told;
      await end(0);
    },
  };
}

function assertDefault({ services, defaultService }: AgentServices): void {
  if (defaultService === undefined || services.has(defaultService)) return;
  throw new CulvertError('config_invalid', `The default service '${defaultService}' is not among the services.`);
}
