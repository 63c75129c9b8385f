import type { DeviceNetwork } from '../network/device-network.ts';
import type { Family, RunningPeer } from '../peers/peer.ts';
import type { Link } from '../traffic/link.ts';

/** A figure that a scenario measures. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /**
   * The metric that this one is derived from: the peer's value minus that of the plain connection in the same round.
   * The scenario does not measure a derived metric.
   */
  readonly addedTo?: string;
}

/** The amounts of work that the command line specifies. */
export interface Amounts {
  /** Bytes of one transfer. */
  readonly bytes: number;
  /** Numbers of devices attached at the same time, in ascending order: each is measured. */
  readonly devices: readonly number[];
}

/** What a scenario can query and report while it measures. */
export interface Watch {
  /** The link between the peer's programs. */
  readonly link: Link;
  /** Seconds of processor time that the peer's processes have used so far. */
  cpuSeconds(): number;
  /** Reports the progress of a measurement that takes minutes. */
  progress(message: string): void;
}

/** One measurement of a running peer. */
export interface Measurement {
  /** Values by metric name; a metric that does not apply to the peer is absent. */
  readonly values: Readonly<Record<string, number>>;
  /** Units of work done, to compute the cost of each: see {@link Scenario.workUnit}. */
  readonly work: number;
}

/** A task of users, measured in the same way for every peer. */
export interface Scenario {
  readonly name: string;
  /** A description in one line. */
  readonly title: (amounts: Amounts) => string;
  /** The family of the peers that the scenario measures. */
  readonly family: Family;
  /** The peer that ratios are computed against, when it differs from the one of the command line. */
  readonly baseline?: string;
  /** The program in `traffic/` that is the target; default: the one that sends, checks and echoes bytes. */
  readonly target?: string;
  /** Creates the link between the peer's programs, for each peer; when absent, they connect directly. */
  readonly link?: () => Link;
  /** Makes the device's own network, in which the target and the device's programs run; instead of {@link link}. Only with {@link isolated}. */
  readonly deviceNetwork?: () => Promise<DeviceNetwork>;
  /** Whether the scenario runs in a separate network namespace, whose packets may be delayed and dropped. */
  readonly isolated?: true;
  /** The scenario's weight in the division of the whole time; an ordinary scenario has 1. */
  readonly weight?: number;
  /** The reason why the scenario cannot be measured on this machine; absent or `undefined` when it can. */
  readonly missing?: () => string | undefined;
  readonly metrics: (amounts: Amounts) => readonly Metric[];
  /** The unit of work that processor time is given for: `GB`, `connection` and so on. */
  readonly workUnit: string;
  /** Whether the scenario has something to measure in this peer. */
  applies(peer: RunningPeer): boolean;
  /** Brings caches, compilers and windows to a steady state. The warm-up is not counted. */
  warmUp(peer: RunningPeer, amounts: Amounts, watch: Watch): Promise<void>;
  /** @throws Error when bytes were wrong, missing or late: the sample then counts as failed */
  measure(peer: RunningPeer, amounts: Amounts, watch: Watch): Promise<Measurement>;
}
