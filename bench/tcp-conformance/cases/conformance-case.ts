import type { Amounts } from '../amounts.ts';
import type { ResidentMemory } from '../resident-memory.ts';
import type { TunnelEnds } from '../tunnel-ends.ts';

/** One thing that TCP promises, and how to see whether a tunnel keeps it. */
export interface ConformanceCase {
  /** As on the command line and in results. */
  readonly id: string;
  /** What TCP promises, in one sentence. */
  readonly promise: string;
  /** Whether the tunnel must carry nothing else meanwhile. These run last, those of all tunnels at the same time. */
  readonly quiet?: boolean;
  /** Milliseconds, beyond a minute, that the case may take; absent: one minute more. */
  extraMs?(amounts: Amounts): number;
  /**
   * Judges the tunnel.
   * @returns what was seen, when the promise is kept
   * @throws Deviation with what was seen instead
   */
  run(tunnel: TunnelUnderTest): Promise<string>;
}

export interface TunnelUnderTest {
  readonly ends: TunnelEnds;
  readonly amounts: Amounts;
  /** Absent when the tunnel's processes are not known. */
  readonly memory?: ResidentMemory;
}
