import type { CloseCause } from './close-cause.ts';
import type { ErrorCode } from './errors.ts';
import type { DeviceStatus, UnansweredView } from './identity.ts';

// The live view's REST documents (docs/operating/live-view.md). Times are ISO 8601; unknown values are null.

/** The phase of a stream. */
export type StreamState = 'requested' | 'offered' | 'accepted' | 'established';

/** Traffic of one direction: payload bytes and whole WebSocket messages. */
export interface CarriedView {
  readonly bytes: number;
  readonly messages: number;
}

/** A current stream, as `GET /streams/{id}` shows it. */
export interface StreamView {
  readonly streamId: string;
  readonly streamName: string;
  readonly deviceId: string;
  readonly moduleId: string | null;
  readonly state: StreamState;
  /** The principal who asked, such as `policy:service`. */
  readonly caller: string;
  /** The address of the request. */
  readonly callerAddress: string;
  /** `HOST:PORT` of the gateway. */
  readonly gateway: string;
  readonly requestedAt: string;
  readonly offeredAt: string | null;
  readonly answeredAt: string | null;
  readonly establishedAt: string | null;
  /** The transport by which the device answered. */
  readonly protocol: string | null;
  /** Addresses of the two sides at the gateway, once connected. */
  readonly serviceAddress: string | null;
  readonly deviceAddress: string | null;
  readonly fromService: CarriedView;
  readonly fromDevice: CarriedView;
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
  /** For the query parameter `continuation` of the next page; null on the last. */
  readonly continuation: string | null;
}

/** Why a device or module last disconnected. */
export interface LastDisconnectView {
  readonly at: string;
  readonly error: ErrorCode;
  readonly detail: string;
  readonly protocol: string;
}

/** The presence of an identity, as `GET /devices/{id}/presence` shows it. */
export interface PresenceView {
  readonly deviceId: string;
  readonly moduleId: string | null;
  readonly online: boolean;
  /** Since when it is online or offline; null when unknown. */
  readonly since: string | null;
  /** Of its control channel; null when offline. */
  readonly protocol: string | null;
  readonly address: string | null;
  readonly principal: string | null;
  /** Whether it can be offered streams. */
  readonly takesOffers: boolean;
  /** The requests for streams that it has left unanswered since its last answer on this channel; null when it answers, or is offline. */
  readonly unanswered: UnansweredView | null;
  /** Its current streams. */
  readonly streams: number;
  /** When and why it last disconnected, also while it is online again; null when unknown. */
  readonly last: LastDisconnectView | null;
}

/** Whether a stream can be asked for, as `GET /devices/{id}/reachability` tells everybody who may ask for one. */
export interface ReachabilityView {
  readonly deviceId: string;
  readonly moduleId: string | null;
  /** Of the device. */
  readonly status: DeviceStatus;
  /** Whether it is attached and takes offers. */
  readonly online: boolean;
  /** Public keys of its SSH server that are registered, `TYPE BASE64`. The hub's word, no more. */
  readonly sshHostKeys: readonly string[];
  /** Whether the agent attached now named other keys than those registered. */
  readonly namesOtherHostKeys: boolean;
}

/** The counters of one stream in the event `counters`. */
export interface StreamCountersView {
  readonly streamId: string;
  readonly fromService: CarriedView;
  readonly fromDevice: CarriedView;
}

/** Why a subscription ends: the last event of `GET /streams/events` and `GET /devices/events`. */
export interface CutView {
  readonly code: ErrorCode;
  readonly detail: string;
}

/** The events of `GET /streams/events`: the current streams, then `ready`, then changes. Changes during the initial list are interleaved. */
export type StreamNotice =
  | { readonly event: 'stream'; readonly data: StreamView }
  | { readonly event: 'ready'; readonly data: Record<string, never> }
  | { readonly event: 'counters'; readonly data: readonly StreamCountersView[] }
  | { readonly event: 'ended'; readonly data: EndedStreamView }
  | { readonly event: 'cut'; readonly data: CutView };

/** The events of `GET /devices/events`: the devices online, then `ready`, then changes. */
export type DeviceNotice =
  | { readonly event: 'online'; readonly data: PresenceView }
  | { readonly event: 'ready'; readonly data: Record<string, never> }
  | { readonly event: 'offline'; readonly data: PresenceView }
  | { readonly event: 'cut'; readonly data: CutView };

/** The configurable limits on streams; their meaning is in docs/operating/limits.md. */
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
  /** The current use; of a limit per device or per stream, the highest value. Null where nothing is measured. */
  readonly used: number | null;
  /** How often it was reached since the hub started: requests refused, streams ended. */
  readonly reached: number;
}
