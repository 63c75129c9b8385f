import { join } from 'node:path';
import { Entrant, type EntrantOptions } from './entrant.ts';
import { FLOOR } from './peers/index.ts';
import type { Peer } from './peers/peer.ts';
import { Child } from './processes/child.ts';
import { watchOthers } from './processes/usage.ts';
import type { PeerResult, ScenarioResult } from './result/result.ts';
import { summarise } from './result/summary.ts';
import type { Metric, Scenario } from './scenarios/scenario.ts';

export interface MeasureOptions extends EntrantOptions {
  readonly rounds: number;
  readonly baseline: string;
  /** Milliseconds, including start and warm-up, after which no round begins that would not end in time; the first round always begins. */
  readonly withinMs: number;
}

/**
 * Measures one scenario: starts and warms up every peer, then measures every peer once in each round. Each round begins with another peer, so
 * that the machine's other work affects all peers.
 * @throws the signal's reason when it aborts; everything that was started is stopped
 */
export async function measureScenario(
  scenario: Scenario,
  peers: readonly Peer[],
  options: MeasureOptions,
): Promise<ScenarioResult> {
  const started = performance.now();
  const network = await scenario.deviceNetwork?.();
  const program = {
    command: process.execPath,
    args: ['--conditions=development', join(import.meta.dirname, 'traffic', scenario.target ?? 'target-main.ts')],
  };
  const target = new Child(network?.onDevice(program) ?? program).readOutput();
  const entrants = peers
    .filter(({ family }) => family === scenario.family)
    .map((peer) => new Entrant(scenario, peer, options, network));
  try {
    const address = { host: '127.0.0.1', port: Number((await target.ready(/listening (\d+)/))[1]) };
    for (const entrant of entrants) await entrant.bringUp(address);
    const able = entrants.filter(({ isAble }) => isAble);
    const others = watchOthers();
    let longestMs = 0;
    for (let round = 0; round < options.rounds; round++) {
      const begun = performance.now();
      if (round > 0 && begun - started + longestMs > options.withinMs) {
        options.onProgress(`${scenario.name}: no time for more than ${round} rounds`);
        break;
      }
      const first = round % Math.max(able.length, 1);
      for (const entrant of [...able.slice(first), ...able.slice(0, first)]) await entrant.measure(round, target.pid);
      longestMs = Math.max(longestMs, performance.now() - begun);
    }
    const shown = entrants.filter((entrant) => able.includes(entrant) || entrant.failures.length > 0);
    const head = scenarioHead(scenario, options);
    return {
      ...head,
      othersProcessors: others(),
      peers: shown.map((entrant) => peerResult(head, entrant, entrants)),
    };
  } finally {
    for (const entrant of entrants) await entrant.stop();
    await target.stop();
    await network?.stop();
  }
}

/** Returns the result of a scenario that could not be measured at all, with the reason. */
export function notMeasured(scenario: Scenario, options: MeasureOptions, reason: string): ScenarioResult {
  return { ...scenarioHead(scenario, options), othersProcessors: 0, peers: [], notMeasured: reason };
}

interface ScenarioHead {
  readonly name: string;
  readonly title: string;
  readonly baseline: string;
  readonly metrics: readonly Metric[];
  readonly workUnit: string;
}

function scenarioHead(scenario: Scenario, options: MeasureOptions): ScenarioHead {
  const { name, workUnit } = scenario;
  const baseline = scenario.baseline ?? options.baseline;
  return { name, title: scenario.title(options), baseline, metrics: scenario.metrics(options), workUnit };
}

function peerResult({ metrics, baseline }: ScenarioHead, entrant: Entrant, all: readonly Entrant[]): PeerResult {
  const { peer, rounds, failures, processes, version } = entrant;
  const roundsOf = (name: string) => all.find((other) => other.peer.name === name)?.rounds;
  return {
    name: peer.name,
    version,
    metrics: summarise(metrics, rounds, roundsOf(FLOOR), peer.name === baseline ? undefined : roundsOf(baseline)),
    work: rounds.reduce((sum, round) => sum + (round?.work ?? 0), 0),
    processes: [...processes.values()],
    failures,
  };
}
