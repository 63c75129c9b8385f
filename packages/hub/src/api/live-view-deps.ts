import type { StreamCounters } from '@culvert/gateway';
import type { CulvertError } from '@culvert/protocol';
import type { EventSink } from '../observe/events.ts';
import type { LastDisconnectOf } from '../observe/last-disconnect.ts';
import type { Claims } from '../observe/latest-claims.ts';
import type { LiveStreams } from '../observe/live-streams.ts';
import type { LiveStream } from '../observe/stream-record.ts';
import type { Subscribers } from './event-stream/subscribers.ts';

/** Dependencies of the live view besides the router: current streams, last disconnects, and the subscribers to changes. */
export interface LiveView {
  readonly streams: LiveStreams;
  /** Counters of an established stream. */
  readonly counters: (streamId: string) => StreamCounters | undefined;
  /** Ends a stream in any state, and all others of its session, which is not taken up again. False when there is no such stream. */
  readonly closeStream: (streamId: string, error: CulvertError) => boolean;
  /** The newest claims of both ends about the session that a stream carries. */
  readonly claims: (stream: LiveStream) => Claims[];
  readonly lastDisconnect: LastDisconnectOf;
  readonly subscribers: Subscribers;
  /** Subscribes to the hub's events and returns a function that unsubscribes. */
  readonly subscribe: (sink: EventSink) => () => void;
}
