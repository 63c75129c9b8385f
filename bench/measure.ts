import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { FLOOR } from './peers/index.ts';
import type { Peer, RunningPeer } from './peers/peer.ts';
import { Child } from './processes/child.ts';
import { ownUsage, treeUsage, watchOthers } from './processes/usage.ts';
import type { Failure, PeerResult, ProcessResult, ScenarioResult } from './result/result.ts';
import { summarise } from './result/summary.ts';
import type { Amounts, Measurement, Scenario } from './scenarios/scenario.ts';
import type { Address } from './traffic/connection.ts';
import { type Link, longLink, NO_LINK } from './traffic/link.ts';

export interface MeasureOptions extends Amounts {
  readonly rounds: number;
  readonly baseline: string;
  /** A directory for keys, databases and the like. */
  readonly workspace: string;
  /** Milliseconds, starting and warming up included, after which no round is begun that would not end in time; the first one always is. */
  readonly withinMs: number;
  readonly onProgress: (message: string) => void;
  /** Ends the run before the next measurement. */
  readonly signal: AbortSignal;
}

/** One peer in one scenario, as it is being measured. */
interface Entrant {
  readonly peer: Peer;
  /** What its programs are connected through. */
  readonly link: Link;
  /** Absent when it did not start. */
  running?: RunningPeer;
  readonly rounds: (Measurement | null)[];
  readonly failures: Failure[];
  /** By role: processor time in the counted rounds, and the peak of memory. */
  readonly processes: Map<string, ProcessResult>;
}

/**
 * Measures one scenario: every peer started anew and warmed up, then in each round every peer once, each round beginning with another, so
 * that what else the machine does falls on all of them.
 * @throws the signal's reason when it aborts; everything that was started is stopped
 */
export async function measureScenario(
  scenario: Scenario,
  peers: readonly Peer[],
  options: MeasureOptions,
): Promise<ScenarioResult> {
  const started = performance.now();
  const target = new Child({
    command: process.execPath,
    args: ['--conditions=development', join(import.meta.dirname, 'traffic', scenario.target ?? 'target-main.ts')],
  }).readOutput();
  const baseline = scenario.baseline ?? options.baseline;
  const entrants = peers
    .filter(({ family }) => family === scenario.family)
    .map(
      (peer): Entrant => ({
        peer,
        rounds: [],
        failures: [],
        processes: new Map(),
        link: scenario.roundTripMs === undefined ? NO_LINK : longLink(scenario.roundTripMs),
      }),
    );
  try {
    const address = { host: '127.0.0.1', port: Number((await target.ready(/listening (\d+)/))[1]) };
    for (const entrant of entrants) await bringUp(scenario, entrant, address, options);
    const able = entrants.filter(({ running, failures }) => {
      return failures.length === 0 && running !== undefined && scenario.applies(running);
    });
    const others = watchOthers();
    let longestMs = 0;
    for (let round = 0; round < options.rounds; round++) {
      const begun = performance.now();
      if (round > 0 && begun - started + longestMs > options.withinMs) {
        options.onProgress(`${scenario.name}: no time for more than ${round} rounds`);
        break;
      }
      const first = round % Math.max(able.length, 1);
      for (const entrant of [...able.slice(first), ...able.slice(0, first)]) {
        await measureOnce(scenario, entrant, round, target.pid, options);
      }
      longestMs = Math.max(longestMs, performance.now() - begun);
    }
    return {
      name: scenario.name,
      title: scenario.title(options),
      baseline,
      metrics: scenario.metrics,
      workUnit: scenario.workUnit,
      othersProcessors: others(),
      peers: entrants
        .filter((entrant) => able.includes(entrant) || entrant.failures.length > 0)
        .map((entrant) => peerResult(scenario, entrant, entrants, baseline)),
    };
  } finally {
    for (const { running, link } of entrants) {
      await running?.stop();
      await link.stop();
    }
    await target.stop();
  }
}

async function bringUp(scenario: Scenario, entrant: Entrant, target: Address, options: MeasureOptions): Promise<void> {
  const { peer } = entrant;
  const workspace = join(options.workspace, `${scenario.name}-${peer.name}`);
  mkdirSync(workspace, { mode: 0o700 });
  options.onProgress(`${scenario.name}: ${peer.name} starts and warms up`);
  await attempt('start', entrant, options, async () => {
    entrant.running = await peer.start(target, workspace, entrant.link);
  });
  const { running } = entrant;
  if (running === undefined || !scenario.applies(running)) return;
  await attempt('warm-up', entrant, options, () => scenario.warmUp(running, options));
}

async function measureOnce(
  scenario: Scenario,
  entrant: Entrant,
  round: number,
  target: number,
  options: MeasureOptions,
): Promise<void> {
  const { peer, running, rounds, processes } = entrant;
  if (running === undefined) return;
  const name = `round ${round + 1}` as const;
  const spent = (): number => running.processes.reduce((sum, { pid }) => sum + treeUsage(pid).cpuSeconds, 0);
  const measurement = await attempt(name, entrant, options, async () => {
    const before = usages(running, target);
    const measured = await scenario.measure(running, options, spent);
    for (const [role, usage] of usages(running, target)) {
      const used = usage.cpuSeconds - (before.get(role)?.cpuSeconds ?? 0);
      processes.set(role, { ...usage, cpuSeconds: (processes.get(role)?.cpuSeconds ?? 0) + used });
    }
    return measured;
  });
  rounds.push(measurement ?? null);
  const figures = Object.entries(measurement?.values ?? {}).map(([metric, value]) => `${metric} ${value.toFixed(2)}`);
  if (figures.length > 0) options.onProgress(`${scenario.name}, ${name}: ${peer.name}: ${figures.join(', ')}`);
}

/** A failure is the entrant's alone and stays on its record: the others go on being measured. */
async function attempt<T>(
  when: Failure['when'],
  entrant: Entrant,
  options: MeasureOptions,
  act: () => Promise<T>,
): Promise<T | undefined> {
  options.signal.throwIfAborted();
  try {
    return await act();
  } catch (error) {
    options.signal.throwIfAborted();
    const message = error instanceof Error ? error.message : String(error);
    entrant.failures.push({ when, message });
    options.onProgress(`${entrant.peer.name} failed, ${when}: ${message}`);
    return undefined;
  }
}

/** The peer's processes, and the two ends without their peaks: those hold the memory of every peer's turn. */
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

function peerResult(scenario: Scenario, entrant: Entrant, all: readonly Entrant[], baseline: string): PeerResult {
  const { peer, running, rounds, failures, processes } = entrant;
  const roundsOf = (name: string) => all.find((other) => other.peer.name === name)?.rounds;
  return {
    name: peer.name,
    version: running?.version ?? '',
    metrics: summarise(
      scenario.metrics,
      rounds,
      roundsOf(FLOOR),
      peer.name === baseline ? undefined : roundsOf(baseline),
    ),
    work: rounds.reduce((sum, round) => sum + (round?.work ?? 0), 0),
    processes: [...processes.values()],
    failures,
  };
}
