import type { CloseCause } from './close-cause.ts';
import type { ErrorCode } from './errors.ts';

// What the live view shows by REST (docs/operating/live-view.md). Times are ISO 8601; what is not known yet is null.

/** How far a stream has come. */
export type StreamState = 'requested' | 'offered' | 'accepted' | 'established';

/** What one direction carried: payload bytes and whole WebSocket messages. */
export interface CarriedView {
  readonly bytes: number;
  readonly messages: number;
}

/** A stream that is not over, as `GET /streams/{id}` shows it. */
export interface StreamView {
  readonly streamId: string;
  readonly streamName: string;
  readonly deviceId: string;
  readonly moduleId: string | null;
  readonly state: StreamState;
  /** The principal who asked, such as `policy:service`. */
  readonly caller: string;
  /** From where it was asked for. */
  readonly callerAddress: string;
  /** `HOST:PORT` its sides are sent to. */
  readonly gateway: string;
  readonly requestedAt: string;
  readonly offeredAt: string | null;
  readonly answeredAt: string | null;
  readonly establishedAt: string | null;
  /** By which protocol the device answered. */
  readonly protocol: string | null;
  /** Addresses of the two sides at the gateway, once they have come. */
  readonly serviceAddress: string | null;
  readonly deviceAddress: string | null;
  readonly fromService: CarriedView;
  readonly fromDevice: CarriedView;
}

/** The last that `GET /streams/events` says of a stream. */
export interface EndedStreamView extends StreamView {
  readonly endedAt: string;
  readonly cause: CloseCause;
  readonly error: ErrorCode | null;
  readonly detail: string;
}

/** What `GET /streams` answers. */
export interface StreamPage {
  readonly streams: readonly StreamView[];
  /** For the query parameter `continuation` of the next page; null on the last. */
  readonly continuation: string | null;
}

/** Why a device or module last went. */
export interface LastDisconnectView {
  readonly at: string;
  readonly error: ErrorCode;
  readonly detail: string;
  readonly protocol: string;
}

/** Requests for streams that a connected device has left unanswered. */
export interface UnansweredView {
  /** When the first of them was made, ISO 8601. */
  readonly since: string;
  readonly count: number;
}

/** Who is there, as `GET /devices/{id}/presence` shows it. */
export interface PresenceView {
  readonly deviceId: string;
  readonly moduleId: string | null;
  readonly online: boolean;
  /** Online: since when. Offline: when it went. Null when that is not known. */
  readonly since: string | null;
  /** Of its control channel; null when offline. */
  readonly protocol: string | null;
  readonly address: string | null;
  readonly principal: string | null;
  /** Whether it can be offered streams. */
  readonly takesOffers: boolean;
  /** The requests for streams that it has left unanswered since its last answer on this channel; null when it answers, or is offline. */
  readonly unanswered: UnansweredView | null;
  /** Streams to it that are not over. */
  readonly streams: number;
  /** When and why it last went, also while it is back; null when that is not known. */
  readonly last: LastDisconnectView | null;
}

/** The counters of one stream, in the event `counters`. */
export interface StreamCountersView {
  readonly streamId: string;
  readonly fromService: CarriedView;
  readonly fromDevice: CarriedView;
}

/** Why a follower is told nothing more: the last event of `GET /streams/events` and `GET /devices/events`. */
export interface CutView {
  readonly code: ErrorCode;
  readonly detail: string;
}

/** What `GET /streams/events` tells: what there is, then `ready`, then what changes. */
export type StreamNotice =
  | { readonly event: 'stream'; readonly data: StreamView }
  | { readonly event: 'ready'; readonly data: Record<string, never> }
  | { readonly event: 'counters'; readonly data: readonly StreamCountersView[] }
  | { readonly event: 'ended'; readonly data: EndedStreamView }
  | { readonly event: 'cut'; readonly data: CutView };

/** What `GET /devices/events` tells: who is online, then `ready`, then who comes and goes. */
export type DeviceNotice =
  | { readonly event: 'online'; readonly data: PresenceView }
  | { readonly event: 'ready'; readonly data: Record<string, never> }
  | { readonly event: 'offline'; readonly data: PresenceView }
  | { readonly event: 'cut'; readonly data: CutView };

/** The limits an administrator sets on streams; their meaning is in docs/operating/limits.md. */
export const LIMIT_NAMES = [
  'streams',
  'streamsPerDevice',
  'newStreamsPerSecond',
  'newStreamsPerSecondPerDevice',
  'heldRequests',
  'idleMs',
  'lifetimeMs',
  'bytesPerStream',
  'bytesPerDevicePerDay',
] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];

/** One limit, as `GET /limits` shows it. */
export interface LimitView {
  readonly name: LimitName;
  readonly unit: 'streams' | 'requests' | 'ms' | 'bytes';
  /** Null: none. */
  readonly limit: number | null;
  /** How much of it is used now; of a limit per device or per stream, by the one that is nearest to it. Null where nothing is measured. */
  readonly used: number | null;
  /** How often it was reached since the hub started: requests refused, streams ended. */
  readonly reached: number;
}
