import type { KeyObject } from 'node:crypto';
import type { MessagePort } from 'node:worker_threads';
import type { ErrorCode } from '@culvert/protocol';
import type { GrantClaims } from '@culvert/protocol/grant';
import type { GatewayEvent } from '../events.ts';
import type { GatewayLimits } from '../limits.ts';

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

/** What a thread needs for its door. */
export interface ThreadDoorStart {
  /** Absent: all addresses. */
  readonly host: string | undefined;
  readonly port: number;
  /** Whether other threads listen there too. */
  readonly reusePort: boolean;
  readonly pair: ThreadPair;
  /** 48 bytes that all threads share, so that a client may take up its TLS session whichever it comes to. */
  readonly ticketKeys: Uint8Array;
  /** Connections of one address that have not shown a grant, at this thread. */
  readonly maxUnprovenPerAddress: number;
  /** The same of all addresses. */
  readonly maxUnproven: number;
  /** Networks of the load balancers whose connections begin with a PROXY header; absent: nobody's do. */
  readonly proxiesFrom: readonly string[] | undefined;
}

/** What a thread is started with. */
export interface ThreadStart {
  /** Never used again, unlike the thread's place among the others. */
  readonly threadId: number;
  readonly bootId: string;
  readonly grantKey: KeyObject;
  readonly limits: Partial<GatewayLimits>;
  readonly plain: boolean;
  readonly door: ThreadDoorStart;
}

/** An error on its way to another thread. */
export interface PlainError {
  readonly code: ErrorCode;
  readonly message: string;
}

/** What the main thread says to a gateway's thread. */
export type ToThread =
  | { readonly type: 'placed'; readonly request: number; readonly owner: number }
  | { readonly type: 'refused'; readonly request: number; readonly error: PlainError }
  /** Another thread hands clients over by this port. */
  | { readonly type: 'link'; readonly port: MessagePort }
  | { readonly type: 'end'; readonly streamId: string; readonly error: PlainError }
  | { readonly type: 'present'; readonly pair: ThreadPair }
  | { readonly type: 'close'; readonly graceMs: number }
  | { readonly type: 'destroy' };

/** What a gateway's thread says to the main thread. */
export type FromThread =
  | { readonly type: 'listening'; readonly address: ThreadAddress }
  /** It cannot listen, and ends. */
  | { readonly type: 'unusable'; readonly error: PlainError }
  /** Where has this grant's stream its place? */
  | { readonly type: 'place'; readonly request: number; readonly claims: GrantClaims }
  | { readonly type: 'unseated'; readonly streamId: string }
  | { readonly type: 'link'; readonly to: number; readonly port: MessagePort }
  | { readonly type: 'event'; readonly event: GatewayEvent }
  /** What a stream carries is counted there (see `Steering.counters`). */
  | { readonly type: 'counters'; readonly streamId: string; readonly shared: SharedArrayBuffer }
  /** A client did not manage TLS. */
  | { readonly type: 'tls-failed'; readonly remoteAddress: string; readonly problem: string }
  /** After `close` or `destroy`: every connection is closed, and nothing more will be said. */
  | { readonly type: 'closed' };
