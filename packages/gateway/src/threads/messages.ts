import type { KeyObject } from 'node:crypto';
import type { MessagePort } from 'node:worker_threads';
import type { ErrorCode } from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { GatewayEvent } from '../gateway-events.ts';
import type { GatewayLimits } from '../gateway-limits.ts';

/** Where a thread listens. */
export interface ThreadAddress {
  readonly host: string;
  readonly port: number;
}

/** Certificate and key of the gateway, PEM. */
export interface ThreadPair {
  readonly cert: string;
  readonly key: string;
}

/** Settings of a thread's listener. */
export interface ThreadListenerStart {
  /** Absent: all addresses. */
  readonly host: string | undefined;
  readonly port: number;
  /** Whether other threads share the address. */
  readonly reusePort: boolean;
  readonly pair: ThreadPair;
  /** 48 bytes shared by all threads, so that a client can resume its TLS session at any of them. */
  readonly ticketKeys: Uint8Array;
  /** Maximum connections per address without a verified grant, at this thread. */
  readonly maxUnauthenticatedPerAddress: number;
  /** The same of all addresses. */
  readonly maxUnauthenticated: number;
  /** Networks of the load balancers whose connections begin with a PROXY header; absent: nobody's do. */
  readonly proxiesFrom: readonly string[] | undefined;
}

/** The `workerData` of a thread. */
export interface ThreadStart {
  /** Never reused, unlike the thread's index. */
  readonly threadId: number;
  readonly bootId: string;
  readonly grantKey: KeyObject;
  readonly limits: Partial<GatewayLimits>;
  readonly plain: boolean;
  readonly listener: ThreadListenerStart;
}

/** An error as sent to another thread. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Messages from the main thread to a gateway thread. */
export type ToThread =
  | { readonly type: 'owner'; readonly request: number; readonly owner: number }
  | { readonly type: 'refused'; readonly request: number; readonly error: PlainError }
  /** Another thread forwards clients over this port. */
  | { readonly type: 'link'; readonly port: MessagePort }
  | { readonly type: 'end'; readonly streamId: string; readonly error: PlainError }
  | { readonly type: 'present'; readonly pair: ThreadPair }
  | { readonly type: 'close'; readonly graceMs: number }
  | { readonly type: 'destroy' };

/** Messages from a gateway thread to the main thread. */
export type FromThread =
  | { readonly type: 'listening'; readonly address: ThreadAddress }
  /** It cannot listen and exits. */
  | { readonly type: 'unusable'; readonly error: PlainError }
  /** Asks which thread owns this grant's stream. */
  | { readonly type: 'find-owner'; readonly request: number; readonly claims: GrantClaims }
  | { readonly type: 'unregistered'; readonly streamId: string }
  | { readonly type: 'link'; readonly to: number; readonly port: MessagePort }
  | { readonly type: 'event'; readonly event: GatewayEvent }
  /** The shared counters of a stream (see `Steering.counters`). */
  | { readonly type: 'counters'; readonly streamId: string; readonly shared: SharedArrayBuffer }
  /** A TLS handshake failed. */
  | { readonly type: 'tls-failed'; readonly remoteAddress: string; readonly problem: string }
  /** After `close` or `destroy`: every connection is closed; this is the last message. */
  | { readonly type: 'closed' };
