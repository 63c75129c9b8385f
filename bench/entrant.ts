import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DeviceNetwork } from './network/device-network.ts';
import type { Peer, RunningPeer } from './peers/peer.ts';
import { ownUsage, treeUsage } from './processes/usage.ts';
import type { Failure, ProcessResult } from './result/result.ts';
import type { Amounts, Measurement, Scenario, Watch } from './scenarios/scenario.ts';
import type { Address } from './traffic/connection.ts';
import { type Link, NO_LINK } from './traffic/link.ts';

/** Maximum milliseconds for one start, warm-up or measurement. A peer that takes longer counts as hung, and the others are measured. */
const LONGEST_MS = 600_000;

export interface EntrantOptions extends Amounts {
  /** A directory for keys, databases and the like. */
  readonly workspace: string;
  readonly onProgress: (message: string) => void;
  /** Ends the run before the next measurement. */
  readonly signal: AbortSignal;
}

/** One peer in one scenario, while it is measured. */
export class Entrant {
  readonly peer: Peer;
  readonly rounds: (Measurement | null)[] = [];
  readonly failures: Failure[] = [];
  /** Processor time in the counted rounds and peak memory, by role. */
  readonly processes = new Map<string, ProcessResult>();
  readonly #scenario: Scenario;
  readonly #options: EntrantOptions;
  /** The link between the peer's programs. */
  readonly #link: Link;
  readonly #watch: Watch;
  /** Absent when the peer did not start, or was stopped because it hung. */
  #running: RunningPeer | undefined;
  #version = '';

  /** @param network of the device, when the scenario has one */
  constructor(scenario: Scenario, peer: Peer, options: EntrantOptions, network: DeviceNetwork | undefined) {
    this.#scenario = scenario;
    this.peer = peer;
    this.#options = options;
    this.#link = network?.link() ?? scenario.link?.() ?? NO_LINK;
    this.#watch = {
      link: this.#link,
      cpuSeconds: () => (this.#running?.processes ?? []).reduce((sum, { pid }) => sum + treeUsage(pid).cpuSeconds, 0),
      progress: (message) => options.onProgress(`${scenario.name}: ${peer.name}: ${message}`),
    };
  }

  /** The version of the peer's programs; empty when they did not start. */
  get version(): string {
    return this.#version;
  }

  /** Whether the peer started without failures, and the scenario has something to measure in it. */
  get isAble(): boolean {
    return this.failures.length === 0 && this.#running !== undefined && this.#scenario.applies(this.#running);
  }

  /** Starts the peer's programs and warms them up. */
  async bringUp(target: Address): Promise<void> {
    const workspace = join(this.#options.workspace, `${this.#scenario.name}-${this.peer.name}`);
    mkdirSync(workspace, { mode: 0o700 });
    this.#watch.progress('starts and warms up');
    await this.#attempt('start', async () => {
      this.#running = await this.peer.start(target, workspace, this.#link);
      this.#version = this.#running.version;
    });
    const running = this.#running;
    if (running === undefined || !this.#scenario.applies(running)) return;
    await this.#attempt('warm-up', () => this.#scenario.warmUp(running, this.#options, this.#watch));
  }

  /** Makes one measurement; a failure is recorded for the peer. */
  async measure(round: number, target: number): Promise<void> {
    const running = this.#running;
    const name = `round ${round + 1}` as const;
    const measurement =
      running === undefined ? undefined : await this.#attempt(name, () => this.#measure(running, target));
    this.rounds.push(measurement ?? null);
    const figures = Object.entries(measurement?.values ?? {}).map(([metric, value]) => `${metric} ${value.toFixed(2)}`);
    if (figures.length > 0) this.#watch.progress(`${name}: ${figures.join(', ')}`);
  }

  async stop(): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    await running?.stop();
    await this.#link.stop();
  }

  async #measure(running: RunningPeer, target: number): Promise<Measurement> {
    const before = usages(running, target);
    const measured = await this.#scenario.measure(running, this.#options, this.#watch);
    for (const [role, usage] of usages(running, target)) {
      const used = usage.cpuSeconds - (before.get(role)?.cpuSeconds ?? 0);
      this.processes.set(role, { ...usage, cpuSeconds: (this.processes.get(role)?.cpuSeconds ?? 0) + used });
    }
    return measured;
  }

  /** Runs `act`. A failure is recorded for this peer only: the others are measured further. */
  async #attempt<T>(when: Failure['when'], act: () => Promise<T>): Promise<T | undefined> {
    const { signal } = this.#options;
    signal.throwIfAborted();
    try {
      return await within(LONGEST_MS, act());
    } catch (error) {
      signal.throwIfAborted();
      const message = error instanceof Error ? error.message : String(error);
      this.failures.push({ when, message });
      this.#watch.progress(`failed, ${when}: ${message}`);
      // Stopping the programs also ends the unfinished work that waits for them.
      if (error instanceof HangError) await this.stop();
      return undefined;
    }
  }
}

class HangError extends Error {}

/** @throws HangError when the work takes longer */
async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new HangError(`not done in ${milliseconds / 1000} s`)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Returns the usage of the peer's processes, and of driver and target without their memory peaks, which include the memory for every peer's turn. */
function usages(running: RunningPeer, target: number): Map<string, ProcessResult> {
  const end = (role: string, { cpuSeconds }: { cpuSeconds: number }) => [role, { role, cpuSeconds }] as const;
  return new Map<string, ProcessResult>([
    ...running.processes.map(({ role, pid }) => {
      const { cpuSeconds, peakBytes } = treeUsage(pid);
      return [role, { role, cpuSeconds, peakBytes }] as const;
    }),
    end('driver', ownUsage(process.pid)),
    end('target', treeUsage(target)),
  ]);
}
