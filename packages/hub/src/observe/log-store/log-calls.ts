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

/** The limits on the age and the size of the log. */
export interface LogRetention {
  /** Number of days before today whose parts are kept. */
  readonly days: number;
  /** Bytes of all parts together. */
  readonly maxBytes: number;
}

/** The start parameters of the worker thread. */
export interface LogThreadStart {
  /** Created with mode 0700 if missing. */
  readonly directory: string;
  readonly retention: LogRetention;
}

/** Messages to the thread. Every write contains the current time, because only the hub has the clock. */
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
