import type { Machine } from '../result/result.ts';
import type { Amounts } from './amounts.ts';

/** The version of the result's form: raised when a reader of the old one would misread the new one. */
export const CONFORMANCE_VERSION = 1;

/** One run of the kit; README.md describes every field. */
export interface ConformanceResult {
  readonly version: typeof CONFORMANCE_VERSION;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly machine: Machine;
  readonly amounts: Amounts;
  /** The cases that were run, in the order of the table. */
  readonly cases: readonly { readonly id: string; readonly promise: string }[];
  readonly tunnels: readonly TunnelResult[];
  /** Tunnels that were asked for and cannot run here, and why. */
  readonly missing: readonly { readonly tunnel: string; readonly reason: string }[];
}

export interface TunnelResult {
  readonly name: string;
  /** Of its programs, as they tell it; empty when it did not start, or the kit did not start it. */
  readonly version: string;
  readonly verdicts: readonly Verdict[];
  /** Why it was not judged, or not to the end; absent when it was. */
  readonly notJudged?: string;
}

export interface Verdict {
  /** Of the case. */
  readonly id: string;
  readonly verdict: 'pass' | 'fail';
  /** What happened, in words. */
  readonly seen: string;
  readonly seconds: number;
}

/** Whether every tunnel was there, was judged to the end, and kept every promise. */
export function allPass({ tunnels, missing }: ConformanceResult): boolean {
  const kept = tunnels.every(
    ({ verdicts, notJudged }) => notJudged === undefined && verdicts.every(({ verdict }) => verdict === 'pass'),
  );
  return kept && missing.length === 0;
}
