import type { Family, RunningPeer } from '../peers/peer.ts';
import type { Link } from '../traffic/link.ts';

/** A figure that a scenario measures. */
export interface Metric {
  readonly name: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /**
   * The metric that this one is derived from: what the peer's value is above that of the plain connection in the same round.
   * The scenario does not measure it.
   */
  readonly addedTo?: string;
}

/** What the command line says about how much to do. */
export interface Amounts {
  /** Bytes of one transfer. */
  readonly bytes: number;
  /** Devices that are attached at once, in rising order: each is measured. */
  readonly devices: readonly number[];
}

/** What a scenario asks and tells while it measures. */
export interface Watch {
  /** What lies between the peer's programs. */
  readonly link: Link;
  /** Seconds of processor time that the peer's processes have used so far. */
  cpuSeconds(): number;
  /** Tells whoever watches how far it is, where that takes minutes. */
  progress(message: string): void;
}

/** One measurement of a running peer. */
export interface Measurement {
  /** By the metric's name; a metric that the peer cannot have is absent. */
  readonly values: Readonly<Record<string, number>>;
  /** Units of work done, for the cost of each: see {@link Scenario.workUnit}. */
  readonly work: number;
}

/** Something users do, measured in the same way for every peer. */
export interface Scenario {
  readonly name: string;
  /** What is done, in one line. */
  readonly title: (amounts: Amounts) => string;
  /** Which peers it measures. */
  readonly family: Family;
  /** The peer that ratios are told against, when it is not the one of the command line. */
  readonly baseline?: string;
  /** The program in `traffic/` that is the target; default the one that sends, checks and echoes bytes. */
  readonly target?: string;
  /** What lies between the peer's programs, created again for each peer; absent, nothing. */
  readonly link?: () => Link;
  /** Whether it runs in a network namespace of its own, whose packets may be held up and dropped. */
  readonly isolated?: true;
  /** How much of the time for everything it takes, an ordinary scenario being 1. */
  readonly weight?: number;
  /** Why it cannot be measured on this machine, in plain words; absent or `undefined` when it can. */
  readonly missing?: () => string | undefined;
  readonly metrics: (amounts: Amounts) => readonly Metric[];
  /** What processor time is told per: `GB`, `connection` and so on. */
  readonly workUnit: string;
  /** Whether the scenario has anything to measure in this peer. */
  applies(peer: RunningPeer): boolean;
  /** Brings caches, compilers and windows to where they stay. Nothing of it is counted. */
  warmUp(peer: RunningPeer, amounts: Amounts, watch: Watch): Promise<void>;
  /** @throws Error when bytes were wrong, missing or late: the sample then counts as failed */
  measure(peer: RunningPeer, amounts: Amounts, watch: Watch): Promise<Measurement>;
}
