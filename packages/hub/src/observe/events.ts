import type { GatewayEvent } from '@culvert/gateway';
import type {
  AuthenticationType,
  ConnectionClaim,
  CulvertError,
  ErrorCode,
  Identity,
  LimitName,
  SessionAnswer,
  Side,
} from '@culvert/protocol';
import type { ControlProtocol, ListenerName } from './listener.ts';
import type { LiveStream, StreamRecord } from './stream-record.ts';

/** All events of a hub, as one union. Logs, metrics, the audit log and the live view all subscribe to these events, so they cannot disagree. */
export type HubEvent =
  | { readonly type: 'hub-started'; readonly hostName: string; readonly address: string }
  | { readonly type: 'hub-draining' }
  | { readonly type: 'hub-stopped' }
  | { readonly type: 'certificate-loaded'; readonly notAfter: string; readonly from: string }
  | { readonly type: 'certificate-kept'; readonly problem: string }
  | { readonly type: 'storage-failed'; readonly problem: string }
  /** A destination of the resource log failed. `sink`: `store`, or the name of a diagnostic setting. Emitted once until it works again. */
  | { readonly type: 'log-failed'; readonly sink: string; readonly problem: string }
  /** The destination works again. `lost`: the number of records that it did not receive during the outage. */
  | { readonly type: 'log-resumed'; readonly sink: string; readonly lost: number }
  /** The audit log cannot be written (emitted once until it can be written again), its last records were lost at close, or it was found truncated at start. */
  | { readonly type: 'audit-failed'; readonly problem: string }
  /** The audit log can be written again. `lost`: records dropped since the hub started. */
  | { readonly type: 'audit-resumed'; readonly lost: number }
  /** An unexpected error; the caller received the error `internal`. `where`: the route or listener. */
  | { readonly type: 'fault'; readonly where: string; readonly problem: string }
  | {
      readonly type: 'connection-refused';
      readonly listener: ListenerName;
      readonly remoteAddress: string;
      readonly error: ErrorCode;
      readonly detail: string;
      /** The identity that the peer claimed, not authenticated; undefined if the connection was refused before the peer named one. */
      readonly claimed?: Identity | undefined;
    }
  | (Identity & {
      readonly type: 'device-attached';
      readonly principal: string;
      readonly protocol: ControlProtocol;
      readonly remoteAddress: string;
      /** The method with which the identity authenticated. */
      readonly authentication?: AuthenticationType | undefined;
      /** The client software and version that the peer reported. */
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
  /** A service opened an AMQP connection. */
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
   * A device keeps its control channel open and does not answer offers. Emitted when the number of unanswered offers since its last answer reaches
   * 1, 2, 4, 8 and so on. `since`: when the first of these offers was sent, ISO 8601. `unanswered`: their number.
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
  /** The device has answered again on the same channel. `unanswered`: the number of offers that it left unanswered before. */
  | (Identity & { readonly type: 'device-responsive'; readonly since: string; readonly unanswered: number })
  /** A device subscribed to offers, or unsubscribed. */
  | (Identity & { readonly type: 'device-offers-changed'; readonly takesOffers: boolean })
  /** Two programs connect with this identity and evict each other. Emitted once while this lasts. `addresses`: their remote addresses. */
  | (Identity & { readonly type: 'identity-contested'; readonly takeOvers: number; readonly addresses: string })
  /** A device reconnects so often that the hub refuses it for some time. Emitted once until the device stops. */
  | (Identity & { readonly type: 'device-reconnects-too-often' })
  /** A configured limit was reached, so a request was refused or a stream ended. `identity`: the device, for limits that apply per device. */
  | { readonly type: 'limit-reached'; readonly limit: LimitName; readonly identity: Identity | undefined }
  | (Identity & {
      readonly type: 'stream-requested';
      readonly streamId: string;
      readonly streamName: string;
      readonly caller: string;
      readonly remoteAddress: string;
      /** The caller's `traceparent` header (W3C Trace Context), if it sent a well-formed one. */
      readonly traceParent?: string | undefined;
      /** The id of the session that the service asked for. */
      readonly sessionId?: string | undefined;
    })
  | (Identity & { readonly type: 'stream-offered'; readonly streamId: string })
  | (Identity & {
      readonly type: 'stream-answered';
      readonly streamId: string;
      readonly accepted: boolean;
      readonly reason?: string;
      /** The session that both ends agreed on; undefined for a raw stream. */
      readonly session?: SessionAnswer | undefined;
      /** `protocol`, `remoteAddress`, `principal` and `clientVersion` are those of the device's control channel. */
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
  /** An end of a session reported on the connections in it: its claims, which the hub cannot check. */
  | (Identity & {
      readonly type: 'session-reported';
      readonly sessionId: string;
      /** The session's newest stream, which may have ended. */
      readonly streamId: string;
      /** The principal that requested the session's streams. */
      readonly caller: string;
      readonly claimedBy: Side;
      /** Milliseconds since the epoch. */
      readonly at: number;
      readonly connections: readonly ConnectionClaim[];
      /** The closed ones among them that the resource log and the audit log record. */
      readonly recorded: readonly ConnectionClaim[];
      /** Closed connections of this device that were not recorded before these: it reports too many. */
      readonly unrecorded: number;
    })
  /** A principal requested by REST that a stream be closed. */
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
  /** The complete record of a stream, emitted exactly once when the stream has ended for any reason. Logs, the audit log and metrics use this event. */
  | { readonly type: 'stream-ended'; readonly record: StreamRecord }
  /**
   * A stream was open when the previous process of this hub died. Emitted once, at the next start. `knownUntil`: the time of that process's last
   * audit record, in milliseconds since the epoch.
   */
  | { readonly type: 'stream-interrupted'; readonly stream: LiveStream; readonly knownUntil: number }
  | { readonly type: 'policy-rotated'; readonly policy: string; readonly principal: string }
  | GatewayEvent;

/** A function that receives events. It must not throw and must not block. */
export type EventSink = (event: HubEvent) => void;

/**
 * Describes an `internal` error on one line, with the name and stack frames of its cause; undefined for other errors. The cause's message is left
 * out, because the message of a foreign error may contain a secret.
 */
export function faultOf(error: CulvertError, where: string): Extract<HubEvent, { type: 'fault' }> | undefined {
  if (error.code !== 'internal') return undefined;
  const { cause } = error;
  const frames = cause instanceof Error ? [cause.name, ...((cause.stack ?? '').match(/^\s+at .+$/gm) ?? [])] : [];
  return { type: 'fault', where, problem: [error.message, ...frames.map((frame) => frame.trim())].join(' ') };
}
