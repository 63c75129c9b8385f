import type { LogPage, LogQuery } from './log-query.ts';

/** A record as the columns of a part: time, sequence, category, operation, device, module, stream, result, error, json. */
export type LogRow = readonly [
  time: number,
  sequence: number,
  category: string,
  operation: string,
  device: string | null,
  module: string | null,
  stream: string | null,
  result: string,
  error: string,
  json: string,
];

/** How much is kept. */
export interface LogRetention {
  /** Days whose parts are kept, today not counted. */
  readonly days: number;
  /** Bytes of all parts together. */
  readonly maxBytes: number;
}

/** What the thread is started with. */
export interface LogThreadStart {
  /** Made (0700) when missing. */
  readonly directory: string;
  readonly retention: LogRetention;
}

/** Messages to the thread. Every write carries the current time: the clock is the hub's. */
export type ToLogThread =
  | { readonly append: readonly LogRow[]; readonly now: number }
  | { readonly query: LogQuery; readonly ticket: number }
  | { readonly tidy: number }
  | { readonly close: true };

/** Messages from the thread: one reply for each `append` and each `query`, in order. */
export type FromLogThread =
  | { readonly appended: true }
  | { readonly failed: string }
  | { readonly ticket: number; readonly page: LogPage }
  | { readonly ticket: number; readonly problem: string };
