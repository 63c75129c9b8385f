import type { Metric } from '../scenarios/scenario.ts';
import type { Spread } from '../statistics.ts';

/** The version of the result format: increased when a reader of the old format would misread the new one. */
export const RESULT_VERSION = 2;

/** One run of the bench, as written to `bench/results/`; README.md describes every field. */
export interface BenchResult {
  readonly version: typeof RESULT_VERSION;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly machine: Machine;
  readonly options: {
    readonly rounds: number;
    readonly bytes: number;
    readonly devices: readonly number[];
    readonly baseline: string;
  };
  readonly scenarios: readonly ScenarioResult[];
  /** Requested peers that cannot run here, and the reasons. */
  readonly missing: readonly { readonly peer: string; readonly reason: string }[];
}

/** The machine in general terms; `load` is the operating system's one-minute average at the start. */
export interface Machine {
  readonly platform: string;
  readonly processor: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly load: number;
  readonly node: string;
}

export interface ScenarioResult {
  readonly name: string;
  readonly title: string;
  /** The peer that ratios are computed against. */
  readonly baseline: string;
  readonly metrics: readonly Metric[];
  readonly workUnit: string;
  /** Processor use of other programs during the rounds, in processors: it shows how far the wall-clock figures can be trusted. */
  readonly othersProcessors: number;
  readonly peers: readonly PeerResult[];
  /** The reason why nothing could be measured, found by trying; absent when something was measured. */
  readonly notMeasured?: string;
}

export interface PeerResult {
  readonly name: string;
  /** The version that the peer's programs report; empty when it did not start. */
  readonly version: string;
  readonly metrics: Readonly<Record<string, MetricResult>>;
  /** Units of work in all counted rounds together. */
  readonly work: number;
  readonly processes: readonly ProcessResult[];
  readonly failures: readonly Failure[];
}

/** A measurement that could not be made, or whose bytes were wrong. */
export interface Failure {
  readonly when: 'start' | 'warm-up' | `round ${number}`;
  readonly message: string;
}

export interface MetricResult extends Spread {
  /** The median of the round-by-round ratios to the baseline. */
  readonly ratio?: number;
  /** Values by round; `null` where the round failed. */
  readonly values: readonly (number | null)[];
}

export interface ProcessResult {
  /** The peer's own name for the process; `driver` and `target` belong to the bench and are the same for every peer. */
  readonly role: string;
  /** Seconds of processor time in all counted rounds together. */
  readonly cpuSeconds: number;
  /** Bytes of peak resident memory since its start; absent for driver and target, which serve all peers in turn. */
  readonly peakBytes?: number;
}
