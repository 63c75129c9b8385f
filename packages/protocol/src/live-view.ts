import type { CloseCause } from './close-cause.ts';
import type { ErrorCode } from './errors.ts';
import type { DeviceStatus, UnansweredView } from './identity.ts';
import type { Side } from './ids.ts';
import type { ConnectionClaim } from './session-report.ts';

// The REST documents of the live view (docs/operating/live-view.md). Times are in ISO 8601; unknown values are null.

/** The phase of a stream. */
export type StreamState = 'requested' | 'offered' | 'accepted' | 'established';

/** The traffic in one direction: payload bytes and complete WebSocket messages. */
export interface CarriedView {
  readonly bytes: number;
  readonly messages: number;
}

/** A current stream, as returned by `GET /streams`. */
export interface StreamView {
  readonly streamId: string;
  readonly streamName: string;
  readonly deviceId: string;
  readonly moduleId: string | null;
  readonly state: StreamState;
  /** The id of the session that the caller asked for; null if it asked for a raw stream. */
  readonly sessionId: string | null;
  /** The version of the session that the device agreed to; null if the stream is raw, or not answered yet. */
  readonly sessionVersion: number | null;
  /** Whether both ends agreed to encrypt the session end to end; null as `sessionVersion`. */
  readonly sessionEncrypted: boolean | null;
  /** The principal that requested the stream, such as `policy:service`. */
  readonly caller: string;
  /** The network address that the request came from. */
  readonly callerAddress: string;
  /** The gateway as `HOST:PORT`. */
  readonly gateway: string;
  readonly requestedAt: string;
  readonly offeredAt: string | null;
  readonly answeredAt: string | null;
  readonly establishedAt: string | null;
  /** The transport of the control channel on which the device answered. */
  readonly protocol: string | null;
  /** The two sides' addresses as the gateway sees them; null until they have connected. */
  readonly serviceAddress: string | null;
  readonly deviceAddress: string | null;
  readonly fromService: CarriedView;
  readonly fromDevice: CarriedView;
}

/** What an end of a session claims about the connections in it. The hub sees none of them. */
export interface SessionClaimsView {
  readonly sessionId: string;
  readonly deviceId: string;
  readonly moduleId: string | null;
  readonly caller: string;
  readonly claimedBy: Side;
  /** When the hub received the report. */
  readonly at: string;
  /** As reported, with times in milliseconds since the epoch. */
  readonly connections: readonly ConnectionClaim[];
}

/** A current stream with the newest claims of both ends about the session that it carries, as returned by `GET /streams/{id}`. */
export interface StreamDetailView extends StreamView {
  /** Absent when no end has reported. */
  readonly claims?: readonly SessionClaimsView[];
}

/** The final event of a stream in `GET /streams/events`. */
export interface EndedStreamView extends StreamView {
  readonly endedAt: string;
  readonly cause: CloseCause;
  readonly error: ErrorCode | null;
  readonly detail: string;
}

/** The response of `GET /streams`. */
export interface StreamPage {
  readonly streams: readonly StreamView[];
  /** The value of the query parameter `continuation` that requests the next page; null on the last page. */
  readonly continuation: string | null;
}

/** When and why a device or module last disconnected. */
export interface LastDisconnectView {
  readonly at: string;
  readonly error: ErrorCode;
  readonly detail: string;
  readonly protocol: string;
}

/** The presence of an identity, as returned by `GET /devices/{id}/presence`. */
export interface PresenceView {
  readonly deviceId: string;
  readonly moduleId: string | null;
  readonly online: boolean;
  /** The time at which it came online or went offline; null when unknown. */
  readonly since: string | null;
  /** The transport of its control channel; null when offline. */
  readonly protocol: string | null;
  readonly address: string | null;
  readonly principal: string | null;
  /** Whether it can be offered streams. */
  readonly takesOffers: boolean;
  /** The stream requests not answered since its last answer on this control channel; null when there are none or it is offline. */
  readonly unanswered: UnansweredView | null;
  /** The number of its current streams. */
  readonly streams: number;
  /** Its last disconnect, kept when it is online again; null when unknown. */
  readonly last: LastDisconnectView | null;
}

/** Whether an identity can be reached, as returned by `GET /devices/{id}/reachability` to every caller that may request streams. */
export interface ReachabilityView {
  readonly deviceId: string;
  readonly moduleId: string | null;
  /** The status of the device. */
  readonly status: DeviceStatus;
  /** Whether it has a control channel attached and accepts offers. */
  readonly online: boolean;
  /** The registered public keys of its SSH server, `TYPE BASE64`. Nothing but the hub vouches for them. */
  readonly sshHostKeys: readonly string[];
  /** Whether the agent that is attached now sent keys that differ from the registered ones. */
  readonly namesOtherHostKeys: boolean;
}

/** The counters of one stream, as in the event `counters`. */
export interface StreamCountersView {
  readonly streamId: string;
  readonly fromService: CarriedView;
  readonly fromDevice: CarriedView;
}

/** The reason why the hub ends a subscription: the last event of `GET /streams/events` and `GET /devices/events`. */
export interface CutView {
  readonly code: ErrorCode;
  readonly detail: string;
}

/** The events of `GET /streams/events`: the current streams, then `ready`, then changes. Changes before `ready` are sent between the current streams. */
export type StreamNotice =
  | { readonly event: 'stream'; readonly data: StreamView }
  | { readonly event: 'ready'; readonly data: Record<string, never> }
  | { readonly event: 'counters'; readonly data: readonly StreamCountersView[] }
  | { readonly event: 'ended'; readonly data: EndedStreamView }
  | { readonly event: 'claims'; readonly data: SessionClaimsView }
  | { readonly event: 'cut'; readonly data: CutView };

/** The events of `GET /devices/events`: the devices that are online, then `ready`, then changes. */
export type DeviceNotice =
  | { readonly event: 'online'; readonly data: PresenceView }
  | { readonly event: 'ready'; readonly data: Record<string, never> }
  | { readonly event: 'offline'; readonly data: PresenceView }
  | { readonly event: 'cut'; readonly data: CutView };

/** The configurable limits on streams; docs/operating/limits.md explains them. */
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

/** One limit, as returned by `GET /limits`. */
export interface LimitView {
  readonly name: LimitName;
  readonly unit: 'streams' | 'requests' | 'ms' | 'bytes';
  /** Null: no limit. */
  readonly limit: number | null;
  /** The current use. For a limit per device or per stream, the highest current value. Null when it is not measured. */
  readonly used: number | null;
  /** The number of requests refused and streams ended because of this limit since the hub started. */
  readonly reached: number;
}
