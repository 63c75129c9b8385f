import { DeviceClient, type DeviceClientOptions, type DeviceClientState } from '@culvert/device';
import { CulvertError } from '@culvert/protocol';
import { type ClientCertificate, type Clock, type OutboundOptions, systemClock } from '@culvert/stream';
import { deferred } from '../deferred.ts';
import { OpenStreams } from '../open-streams.ts';
import { answerOffer } from './answer-offer.ts';
import type { AgentEvent, Target } from './events.ts';

/** Streams at once, unless told otherwise: about 2,000 sockets, below the usual limit of open files with room to spare. */
export const MAX_STREAMS = 1000;

/** Milliseconds running streams get to end when the agent is closed. */
export const CLOSE_GRACE_MS = 10_000;

export interface AgentOptions {
  /** The connection string of the device, or of a module of it. */
  readonly connectionString: string;
  /** For a connection string with `x509=true`. */
  readonly certificate?: ClientCertificate;
  /** What the agent offers, by stream name; it connects to nothing else. */
  readonly services: ReadonlyMap<string, Target>;
  /** The service that takes names the list does not hold (the preview's clients send `TestStream`). Must be in the list. */
  readonly defaultService?: string;
  /** As `DeviceClientOptions` has it: milliseconds, default 60,000. */
  readonly halfCloseMs?: number;
  /** How the hub and its gateway are reached. */
  readonly outbound?: OutboundOptions;
  readonly onEvent?: (event: AgentEvent) => void;
  readonly clock?: Clock;
  /** Default {@link MAX_STREAMS}; an offer beyond is rejected. */
  readonly maxStreams?: number;
}

/** The part of `DeviceClient` an agent needs. */
export interface AgentClient {
  open(): Promise<void>;
  close(): Promise<void>;
}

/** A running agent. */
export interface Agent {
  /** Resolves when first attached to the hub; rejects when the hub refuses the device for good. */
  readonly attached: Promise<void>;
  /** Resolves when closed on purpose; rejects when the hub refuses the device for good. */
  readonly closed: Promise<void>;
  /** How many streams it carries. */
  readonly streams: number;
  /** Takes no new offers, lets running streams end for `graceMs` (default {@link CLOSE_GRACE_MS}), ends the rest with a reason. */
  close(graceMs?: number): Promise<void>;
  /** Ends everything now. */
  destroy(reason: CulvertError): Promise<void>;
}

/**
 * The device-local proxy: attaches as a device, and connects offered streams to the local targets of its list. It goes on after
 * a stream's end, a hub's restart and a network's loss.
 * @throws CulvertError `config_invalid` when `defaultService` is not in the list, `argument_invalid` for a bad connection string
 */
export function startAgent(
  options: AgentOptions,
  createClient: (text: string, options: DeviceClientOptions) => AgentClient = DeviceClient.fromConnectionString,
): Agent {
  const { services, defaultService, clock = systemClock, onEvent = () => undefined } = options;
  if (defaultService !== undefined && !services.has(defaultService)) {
    throw new CulvertError('config_invalid', `The default service '${defaultService}' is not among the services.`);
  }
  const streams = new OpenStreams(options.maxStreams ?? MAX_STREAMS);
  const closed = deferred();
  // One nobody awaits must not end the process.
  closed.promise.catch(() => undefined);
  let closing = false;
  const client = createClient(options.connectionString, {
    onStream: (offer) => answerOffer(offer, { services, defaultService, streams, clock, onEvent }),
    onStateChange: (state: DeviceClientState, error?: CulvertError) => {
      onEvent({ type: 'state', state, error });
    },
    clock,
    ...(options.outbound === undefined ? {} : { outbound: options.outbound }),
    ...(options.halfCloseMs === undefined ? {} : { halfCloseMs: options.halfCloseMs }),
    ...(options.certificate === undefined ? {} : { certificate: options.certificate }),
  });
  const attached = client.open();
  attached.catch((error: unknown) => {
    if (!closing) closed.reject(error);
  });
  const end = async (graceMs: number): Promise<void> => {
    closing = true;
    await client.close();
    await streams.drain(graceMs, clock, 'The agent is stopping.');
    closed.resolve();
  };
  return {
    attached,
    closed: closed.promise,
    get streams() {
      return streams.size;
    },
    close: (graceMs = CLOSE_GRACE_MS) => end(graceMs),
    destroy: (reason) => {
      streams.destroy(reason);
      return end(0);
    },
  };
}
