import type { Duplex } from 'node:stream';
import type { StreamOffer } from '@culvert/device';
import { CulvertError, printable } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { echoEnd, type LocalEnd, socketEnd } from '../local-end.ts';
import { relay } from '../local-relay.ts';
import type { OpenStream, OpenStreams } from '../open-streams.ts';
import { sessionRelay } from '../session-relay.ts';
import type { AgentEvent, OfferedStream, Target } from './agent-events.ts';
import { dialTarget } from './dial-target.ts';
import { SERVICES_SERVICE, serviceReportEnd, tryServices } from './service-report.ts';

/** How offers are answered. */
export interface AnswerOptions {
  /** All targets that the agent may connect to, by stream name. */
  readonly services: ReadonlyMap<string, Target>;
  /** The service for stream names that are not in the list. */
  readonly defaultService: string | undefined;
  readonly streams: OpenStreams;
  readonly clock: Clock;
  readonly onEvent: (event: AgentEvent) => void;
}

/** The name of a stream that every agent itself answers, by sending all received data back. `culvert doctor` measures with it. */
export const ECHO_SERVICE = 'culvert-echo';

/**
 * Answers one offer and relays its stream to the end. The local target is connected before the offer is accepted, so that the caller receives a
 * rejection at once if the target cannot be reached. Never rejects: errors are reported as events, and the agent continues.
 */
export async function answerOffer(offer: StreamOffer, options: AnswerOptions): Promise<void> {
  const { services, defaultService } = options;
  const own = services.has(offer.name) ? undefined : ownService(offer.name, options);
  const target = own === undefined ? (services.get(offer.name) ?? services.get(defaultService ?? '')) : undefined;
  if (target === undefined && own === undefined) return reject(offer, unknownService(offer.name, services), options);
  const slot = options.streams.take();
  if (slot === undefined)
    return reject(offer, 'this agent has reached its limit of open streams; try again later', options);
  try {
    const local = target === undefined ? own?.(slot.signal) : await connectTarget(offer, target, slot, options);
    if (local !== undefined) await relayOffer(offer, target, local, slot, options);
  } finally {
    slot.release();
  }
}

/** Returns how to create the local end of a service that the agent itself provides; undefined if it provides none of this name. */
function ownService(name: string, { services, clock }: AnswerOptions): ((signal: AbortSignal) => LocalEnd) | undefined {
  if (name === ECHO_SERVICE) return echoEnd;
  if (name !== SERVICES_SERVICE) return undefined;
  return (signal) => serviceReportEnd(() => tryServices(services, clock, signal));
}

async function connectTarget(
  offer: StreamOffer,
  target: Target,
  slot: OpenStream,
  options: AnswerOptions,
): Promise<LocalEnd | undefined> {
  try {
    const socket = await dialTarget(target, options.clock, slot.signal);
    // The target may close the connection while the offer is being accepted; `relay` checks for that.
    socket.on('error', () => undefined);
    return socketEnd(socket);
  } catch (error) {
    await reject(offer, CulvertError.from(error).message, options);
    return undefined;
  }
}

async function relayOffer(
  offer: StreamOffer,
  target: Target | undefined,
  local: LocalEnd,
  slot: OpenStream,
  options: AnswerOptions,
): Promise<void> {
  const { clock, onEvent } = options;
  const streamFields = describe(offer);
  const started = clock.now();
  try {
    const stream: Duplex = await offer.accept({ signal: slot.signal });
    onEvent({ type: 'stream-opened', id: slot.id, target, ...streamFields });
    const ends = { clock, signal: slot.signal };
    const result = await (sessionRelay(local, stream, ends) ?? relay(local, stream, ends));
    onEvent({ type: 'stream-ended', id: slot.id, ...result, durationMs: clock.now() - started, ...streamFields });
  } catch (error) {
    local.reset();
    onEvent({ type: 'stream-failed', id: slot.id, error: CulvertError.from(error), ...streamFields });
  }
}

async function reject(offer: StreamOffer, reason: string, options: AnswerOptions): Promise<void> {
  options.onEvent({ type: 'stream-rejected', reason, ...describe(offer) });
  try {
    await offer.reject(reason);
  } catch (error) {
    // The control channel was lost meanwhile, so the rejection cannot be sent. A state event reports the reason of the loss.
    options.onEvent({ type: 'stream-failed', id: 0, error: CulvertError.from(error), ...describe(offer) });
  }
}

function unknownService(name: string, services: ReadonlyMap<string, Target>): string {
  const offered = [...services.keys()];
  const list = offered.length === 0 ? 'nothing' : offered.join(', ');
  return `this agent has no service '${printable(name, 64)}' (it offers: ${list})`;
}

function describe({ name, streamId, sessionId, caller }: StreamOffer): OfferedStream {
  return { service: name, streamId, ...(sessionId === undefined ? {} : { sessionId }), caller };
}
