import type { Duplex } from 'node:stream';
import type { StreamOffer } from '@culvert/device';
import { CulvertError, printable } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import { echoEnd, type LocalEnd, socketEnd } from '../local-end.ts';
import { relay } from '../local-relay.ts';
import type { OpenStream, OpenStreams } from '../open-streams.ts';
import type { AgentEvent, Target } from './agent-events.ts';
import { dialTarget } from './dial-target.ts';
import { SERVICES_SERVICE, serviceReportEnd, tryServices } from './service-report.ts';

/** What an offer is answered by. */
export interface AnswerOptions {
  /** The whole of what the agent connects to, by stream name. */
  readonly services: ReadonlyMap<string, Target>;
  /** The service that takes names which are not in the list. */
  readonly defaultService: string | undefined;
  readonly streams: OpenStreams;
  readonly clock: Clock;
  readonly onEvent: (event: AgentEvent) => void;
}

/** The stream name that every agent answers by itself, by sending back what it is sent: what `culvert doctor` measures. */
export const ECHO_SERVICE = 'culvert-echo';

/**
 * Answers one offer and relays its stream to the end: the local target is connected before the offer is accepted, so the one
 * who asks learns at once when nothing answers there. Never rejects: what goes wrong is told by event, and the agent goes on.
 */
export async function answerOffer(offer: StreamOffer, options: AnswerOptions): Promise<void> {
  const { services, defaultService } = options;
  const own = services.has(offer.name) ? undefined : ownService(offer.name, options);
  const target = own === undefined ? (services.get(offer.name) ?? services.get(defaultService ?? '')) : undefined;
  if (target === undefined && own === undefined) return reject(offer, unknownService(offer.name, services), options);
  const place = options.streams.take();
  if (place === undefined)
    return reject(offer, 'this agent has reached its limit of open streams; try again later', options);
  try {
    const local = target === undefined ? own?.(place.signal) : await connectTarget(offer, target, place, options);
    if (local !== undefined) await relayOffer(offer, target, local, place, options);
  } finally {
    place.release();
  }
}

/** Stream names that the agent answers by itself, unless its list has a service of that name. */
function ownService(name: string, { services, clock }: AnswerOptions): ((signal: AbortSignal) => LocalEnd) | undefined {
  if (name === ECHO_SERVICE) return echoEnd;
  if (name !== SERVICES_SERVICE) return undefined;
  return (signal) => serviceReportEnd(() => tryServices(services, clock, signal));
}

async function connectTarget(
  offer: StreamOffer,
  target: Target,
  place: OpenStream,
  options: AnswerOptions,
): Promise<LocalEnd | undefined> {
  try {
    const socket = await dialTarget(target, options.clock, place.signal);
    // The target may go away while the offer is being accepted; `relay` finds it destroyed.
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
  place: OpenStream,
  options: AnswerOptions,
): Promise<void> {
  const { clock, onEvent } = options;
  const told = describe(offer);
  const started = clock.now();
  try {
    const stream: Duplex = await offer.accept({ signal: place.signal });
    onEvent({ type: 'stream-opened', id: place.id, target, ...told });
    const result = await relay(local, stream, { clock, signal: place.signal });
    onEvent({ type: 'stream-ended', id: place.id, ...result, durationMs: clock.now() - started, ...told });
  } catch (error) {
    local.reset();
    onEvent({ type: 'stream-failed', id: place.id, error: CulvertError.from(error), ...told });
  }
}

async function reject(offer: StreamOffer, reason: string, options: AnswerOptions): Promise<void> {
  options.onEvent({ type: 'stream-rejected', reason, ...describe(offer) });
  try {
    await offer.reject(reason);
  } catch (error) {
    // The control channel went away meanwhile: nobody waits for this answer any more, and the state event says why.
    options.onEvent({ type: 'stream-failed', id: 0, error: CulvertError.from(error), ...describe(offer) });
  }
}

function unknownService(name: string, services: ReadonlyMap<string, Target>): string {
  const offered = [...services.keys()];
  const list = offered.length === 0 ? 'nothing' : offered.join(', ');
  return `this agent has no service '${printable(name, 64)}' (it offers: ${list})`;
}

function describe(offer: StreamOffer): { service: string; streamId: string | undefined; caller: string | undefined } {
  return { service: offer.name, streamId: offer.streamId, caller: offer.caller };
}
