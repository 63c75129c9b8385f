import type { StreamCounters } from '@culvert/gateway';
import type { CulvertError } from '@culvert/protocol';
import type { ClosableStream } from '../handshake/closable-streams.ts';
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
  /** The streams that an id of a stream or of a session means; see `closableStreams`. */
  readonly closable: (id: string) => ClosableStream[];
  /** Ends a stream in any state, and all others of its session, which is not taken up again, also if it has no stream now. False when there is neither. */
  readonly closeStream: (streamId: string, error: CulvertError) => boolean;
  /** The newest claims of both ends about the session that a stream carries. */
  readonly claims: (stream: LiveStream) => Claims[];
  readonly lastDisconnect: LastDisconnectOf;
  readonly subscribers: Subscribers;
  /** Subscribes to the hub's events and returns a function that unsubscribes. */
  readonly subscribe: (sink: EventSink) => () => void;
}
