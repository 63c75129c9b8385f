import type { StreamCounters } from '@culvert/gateway';
import type { CulvertError } from '@culvert/protocol';
import type { EventSink } from '../observe/events.ts';
import type { LastDisconnectOf } from '../observe/last-disconnect.ts';
import type { LiveStreams } from '../observe/live-streams.ts';
import type { Followers } from './followers.ts';

/** What the live view stands on, beside the router: streams now, why devices last went, and who is told of changes. */
export interface LiveView {
  readonly streams: LiveStreams;
  /** What a joined stream has carried so far. */
  readonly counters: (streamId: string) => StreamCounters | undefined;
  /** Ends a stream wherever it stands. False when there is none of this id. */
  readonly endStream: (streamId: string, error: CulvertError) => boolean;
  readonly lastDisconnect: LastDisconnectOf;
  readonly followers: Followers;
  /** Subscribes to the hub's events, and returns the way to unsubscribe. */
  readonly subscribe: (sink: EventSink) => () => void;
}
