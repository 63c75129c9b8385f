import type { GatewayEvent } from '@culvert/gateway';
import type { AuthenticationType, CulvertError, ErrorCode, Identity, LimitName } from '@culvert/protocol';
import type { ControlProtocol, Door } from './door.ts';
import type { StreamRecord } from './stream-record.ts';

/** Everything that happens in a hub, as one union: logs, metrics, audit and live view are its subscribers, so they cannot disagree. */
export type HubEvent =
  | { readonly type: 'hub-started'; readonly hostName: string; readonly address: string }
  | { readonly type: 'hub-draining' }
  | { readonly type: 'hub-stopped' }
  | { readonly type: 'certificate-loaded'; readonly notAfter: string; readonly from: string }
  | { readonly type: 'certificate-kept'; readonly problem: string }
  | { readonly type: 'storage-failed'; readonly problem: string }
  /** A sink of the resource log (`store`, or a diagnostic setting's name) takes no records: told once, until it does again. */
  | { readonly type: 'log-failed'; readonly sink: string; readonly problem: string }
  /** It takes them again. `lost`: how many records it never got. */
  | { readonly type: 'log-resumed'; readonly sink: string; readonly lost: number }
  /** The audit record takes nothing, or was found cut off: told once, until it is written again. */
  | { readonly type: 'audit-failed'; readonly problem: string }
  /** `lost`: records that were not kept, since the hub started. */
  | { readonly type: 'audit-resumed'; readonly lost: number }
  /** Something of ours went wrong where it was not foreseen: whoever asked got `internal`. `where`: the route or door. */
  | { readonly type: 'fault'; readonly where: string; readonly problem: string }
  | {
      readonly type: 'connection-refused';
      readonly door: Door;
      readonly remoteAddress: string;
      readonly error: ErrorCode;
      readonly detail: string;
      /** Who the peer said it is, where it came to say so. Not proven. */
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
  /** A device began to take offers, or stopped. */
  | (Identity & { readonly type: 'device-offers-changed'; readonly takesOffers: boolean })
  /** Two programs connect with this identity and evict each other; told once while it lasts. `addresses`: where they come from. */
  | (Identity & { readonly type: 'identity-contested'; readonly takeOvers: number; readonly addresses: string })
  /** It connects so often that it is refused for a while; told once, until it has left off. */
  | (Identity & { readonly type: 'device-reconnects-too-often' })
  /** A limit an administrator set was reached: a request was refused, or a stream ended. `identity`: of whom it was, where it was of one. */
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
  /** A principal asked by REST for a stream's end. */
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
  /** The whole life of a stream, told once, when it is over, however it ended: what logs, audit and metrics count. */
  | { readonly type: 'stream-ended'; readonly record: StreamRecord }
  | { readonly type: 'policy-rotated'; readonly policy: string; readonly principal: string }
  | GatewayEvent;

/** Where events go. Must not throw and must not block. */
export type EventSink = (event: HubEvent) => void;

/**
 * An `internal` error, with where its cause was thrown, on one line; undefined for errors that were thrown on purpose. Of the cause the name
 * alone: what a message of somebody else's quotes is not known.
 */
export function faultOf(error: CulvertError, where: string): Extract<HubEvent, { type: 'fault' }> | undefined {
  if (error.code !== 'internal') return undefined;
  const { cause } = error;
  const frames = cause instanceof Error ? [cause.name, ...((cause.stack ?? '').match(/^\s+at .+$/gm) ?? [])] : [];
  return { type: 'fault', where, problem: [error.message, ...frames.map((frame) => frame.trim())].join(' ') };
}
