import { DeviceClient } from '@culvert/device';
import { CulvertError } from '@culvert/protocol';
import { type Clock, systemClock } from '@culvert/stream';
import { deferred } from '../deferred.ts';
import { OpenStreams } from '../open-streams.ts';
import { type AgentAddress, AgentConnection, type CreateClient } from './agent-connection.ts';
import type { AgentEvent, Target } from './agent-events.ts';
import { answerOffer } from './answer-offer.ts';

/** Streams at once, unless told otherwise: about 2,000 sockets, below the usual limit of open files with room to spare. */
export const MAX_STREAMS = 1000;

/** Milliseconds running streams get to end when the agent is closed. */
export const CLOSE_GRACE_MS = 10_000;

/** What an agent offers. */
export interface AgentServices {
  /** By stream name; the agent connects to nothing else. */
  readonly services: ReadonlyMap<string, Target>;
  /** The service that takes names the list does not hold (Azure's clients send `TestStream`). Must be in the list. */
  readonly defaultService?: string;
}

export interface AgentOptions extends AgentAddress, AgentServices {
  /** Public keys of this device's SSH server, for the hub to register; default none. */
  readonly sshHostKeys?: readonly string[];
  /** As `DeviceClientOptions` has it: milliseconds, default 60,000. */
  readonly halfCloseMs?: number;
  /** Reads the address's files again after each refusal of the hub; returns undefined when they cannot be read. Must not throw. */
  readonly readAgain?: () => AgentAddress | undefined;
  readonly onEvent?: (event: AgentEvent) => void;
  readonly clock?: Clock;
  /** Default {@link MAX_STREAMS}; an offer beyond is rejected. */
  readonly maxStreams?: number;
}

/** A running agent. */
export interface Agent {
  /** Resolves when first attached to the hub; rejects as `closed` does. */
  readonly attached: Promise<void>;
  /**
   * Resolves when closed on purpose; rejects with `config_invalid` when the proxy, CA or certificate given cannot be used. What the hub or
   * the network says never ends an agent: it waits and tries again.
   */
  readonly closed: Promise<void>;
  /** Number of open streams. */
  readonly streams: number;
  /**
   * Offers these services from now on; streams that run go on, also those to a service that is gone. With another address it connects
   * again: the old connection is closed only when the new one is established, or when the old one has failed itself.
   * @throws CulvertError as {@link startAgent}, and then nothing has changed
   */
  reload(services: AgentServices, address?: AgentAddress): void;
  /** Takes no new offers, lets running streams end for `graceMs` (default {@link CLOSE_GRACE_MS}), ends the rest with a reason. */
  close(graceMs?: number): Promise<void>;
  /** Ends everything now. */
  destroy(reason: CulvertError): Promise<void>;
}

/**
 * The device-local proxy: attaches as a device, and connects offered streams to the local targets of its list. It goes on after
 * the end of a stream, a restart of the hub, the loss of the network, and a refusal.
 * @throws CulvertError `config_invalid` when `defaultService` is not in the list, `argument_invalid` for a bad connection string
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
  // One nobody awaits must not end the process.
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
    await connection.close();
    await streams.drain(graceMs, clock, 'The agent is stopping.');
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
    destroy: (reason) => {
      streams.destroy(reason);
      return end(0);
    },
  };
}

function assertDefault({ services, defaultService }: AgentServices): void {
  if (defaultService === undefined || services.has(defaultService)) return;
  throw new CulvertError('config_invalid', `The default service '${defaultService}' is not among the services.`);
}
