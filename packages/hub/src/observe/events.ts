import type { GatewayEvent } from '@culvert/gateway';
import type { AuthenticationType, CulvertError, ErrorCode, Identity, LimitName } from '@culvert/protocol';
import type { ControlProtocol, ListenerName } from './listener.ts';
import type { LiveStream, StreamRecord } from './stream-record.ts';

/** Everything that happens in a hub, as one union: logs, metrics, audit and live view are its subscribers, so they cannot disagree. */
export type HubEvent =
  | { readonly type: 'hub-started'; readonly hostName: string; readonly address: string }
  | { readonly type: 'hub-draining' }
  | { readonly type: 'hub-stopped' }
  | { readonly type: 'certificate-loaded'; readonly notAfter: string; readonly from: string }
  | { readonly type: 'certificate-kept'; readonly problem: string }
  | { readonly type: 'storage-failed'; readonly problem: string }
  /** A destination of the resource log (`store`, or a diagnostic setting's name) failed: emitted once until it works again. */
  | { readonly type: 'log-failed'; readonly sink: string; readonly problem: string }
  /** The destination works again. `lost`: how many records it never received. */
  | { readonly type: 'log-resumed'; readonly sink: string; readonly lost: number }
  /** The audit log cannot be written, or was found truncated: emitted once until it is written again. */
  | { readonly type: 'audit-failed'; readonly problem: string }
  /** `lost`: records dropped since the hub started. */
  | { readonly type: 'audit-resumed'; readonly lost: number }
  /** An unexpected error: the caller got `internal`. `where`: the route or listener. */
  | { readonly type: 'fault'; readonly where: string; readonly problem: string }
  | {
      readonly type: 'connection-refused';
      readonly listener: ListenerName;
      readonly remoteAddress: string;
      readonly error: ErrorCode;
      readonly detail: string;
      /** The identity the peer claimed, if it got that far. Not authenticated. */
      readonly claimed?: Identity | undefined;
    }
  | (Identity & {
      readonly type: 'device-attached';
      readonly principal: string;
      readonly protocol: ControlProtocol;
      readonly remoteAddress: string;
      /** How it proved who it is. */
      readonly authentication?: AuthenticationType | undefined;
      /** What software it says it is. */
      readonly clientVersion?: string | undefined;
    })
  | (Identity & {
      readonly type: 'device-detached';
      readonly protocol: ControlProtocol;
      readonly principal?: string | undefined;
      readonly remoteAddress?: string | undefined;
      readonly authentication?: AuthenticationType | undefined;
      readonly clientVersion?: string | undefined;
      readonly error: ErrorCode;
      readonly detail: string;
      readonly connectedMs: number;
    })
  /** A service holds a connection of its own, over AMQP. */
  | {
      readonly type: 'service-connected';
      readonly principal: string;
      readonly protocol: ControlProtocol;
      readonly remoteAddress: string;
    }
  | {
      readonly type: 'service-disconnected';
      readonly principal: string;
      readonly protocol: ControlProtocol;
      readonly remoteAddress: string;
      readonly clientVersion: string | undefined;
      readonly error: ErrorCode;
      readonly detail: string;
      readonly connectedMs: number;
    }
  /**
   * A device holds its control channel and leaves offers unanswered: told of the first, the second, the fourth and so on since its last answer.
   * `since`: when the first of them was made, ISO 8601.
   */
  | (Identity & {
      readonly type: 'device-unresponsive';
      readonly protocol: ControlProtocol;
      readonly principal: string;
      readonly remoteAddress: string;
      readonly authentication?: AuthenticationType | undefined;
      readonly clientVersion?: string | undefined;
      readonly since: string;
      readonly unanswered: number;
    })
  /** It has answered again, on the same channel; how many it had left until then. */
  | (Identity & { readonly type: 'device-responsive'; readonly since: string; readonly unanswered: number })
  /** A device subscribed to offers, or unsubscribed. */
  | (Identity & { readonly type: 'device-offers-changed'; readonly takesOffers: boolean })
  /** Two programs connect with this identity and evict each other; emitted once while it lasts. `addresses`: where they come from. */
  | (Identity & { readonly type: 'identity-contested'; readonly takeOvers: number; readonly addresses: string })
  /** A device reconnects so often that it is refused for a while; emitted once until it stops. */
  | (Identity & { readonly type: 'device-reconnects-too-often' })
  /** A configured limit was reached: a request was refused, or a stream ended. `identity`: the device whose limit it is, for limits per device. */
  | { readonly type: 'limit-reached'; readonly limit: LimitName; readonly identity: Identity | undefined }
  | (Identity & {
      readonly type: 'stream-requested';
      readonly streamId: string;
      readonly streamName: string;
      readonly caller: string;
      readonly remoteAddress: string;
      /** The caller's `traceparent` header (W3C Trace Context), if it sent a well-formed one. */
      readonly traceParent?: string | undefined;
    })
  | (Identity & { readonly type: 'stream-offered'; readonly streamId: string })
  | (Identity & {
      readonly type: 'stream-answered';
      readonly streamId: string;
      readonly accepted: boolean;
      readonly reason?: string;
      /** Of the device's control channel. */
      readonly protocol: ControlProtocol;
      readonly remoteAddress: string;
      readonly principal: string;
      readonly clientVersion?: string | undefined;
    })
  | (Identity & {
      readonly type: 'stream-failed';
      readonly streamId: string;
      readonly error: ErrorCode;
      readonly detail: string;
    })
  /** A principal closed a stream by REST. */
  | (Identity & {
      readonly type: 'stream-close-requested';
      readonly streamId: string;
      readonly principal: string;
      readonly remoteAddress: string;
      readonly reason: string | undefined;
    })
  | (Identity & {
      readonly type: 'registry-changed';
      readonly change: 'created' | 'updated' | 'deleted';
      readonly principal: string;
    })
  | {
      readonly type: 'authority-changed';
      readonly change: 'added' | 'removed';
      readonly authority: string;
      readonly principal: string;
    }
  /** The complete record of a stream, emitted once when it has ended, however it ended: the source of logs, audit and metrics. */
  | { readonly type: 'stream-ended'; readonly record: StreamRecord }
  /**
   * A stream was open when an earlier process of this hub died; told once, at the next start. `knownUntil`: when that process last gave a sign of
   * life, in milliseconds since the epoch.
   */
  | { readonly type: 'stream-interrupted'; readonly stream: LiveStream; readonly knownUntil: number }
  | { readonly type: 'policy-rotated'; readonly policy: string; readonly principal: string }
  | GatewayEvent;

/** Where events go. Must not throw and must not block. */
export type EventSink = (event: HubEvent) => void;

/**
 * Describes an `internal` error and where its cause was thrown, on one line; undefined for expected errors. Of the cause only the name
 * is included: the message of a foreign error may quote a secret.
 */
export function faultOf(error: CulvertError, where: string): Extract<HubEvent, { type: 'fault' }> | undefined {
  if (error.code !== 'internal') return undefined;
  const { cause } = error;
  const frames = cause instanceof Error ? [cause.name, ...((cause.stack ?? '').match(/^\s+at .+$/gm) ?? [])] : [];
  return { type: 'fault', where, problem: [error.message, ...frames.map((frame) => frame.trim())].join(' ') };
}
