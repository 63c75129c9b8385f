import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Peer, RunningPeer } from '../peers/peer.ts';
import type { Address } from '../traffic/connection.ts';
import { NO_LINK } from '../traffic/link.ts';
import type { Amounts } from './amounts.ts';
import type { ConformanceCase, TunnelUnderTest } from './cases/conformance-case.ts';
import { judge } from './judge.ts';
import { ResidentMemory } from './resident-memory.ts';
import type { TunnelResult, Verdict } from './result.ts';
import { TunnelEnds } from './tunnel-ends.ts';

export interface RunOptions {
  readonly cases: readonly ConformanceCase[];
  readonly amounts: Amounts;
  readonly onProgress: (message: string) => void;
  /** Ends the run. */
  readonly signal: AbortSignal;
}

/** A tunnel that someone else has started. */
export interface RunningTunnel {
  /** Where it listens. */
  readonly entry: Address;
  /** The port of 127.0.0.1 that it leads to. */
  readonly targetPort: number;
  /** Of its processes; empty when they are not known. */
  readonly pids: readonly number[];
}

/** A tunnel while it is judged. What fails it stays on its own record: the others go on being judged. */
class Entrant {
  readonly name: string;
  readonly #ends: TunnelEnds;
  readonly #options: RunOptions;
  readonly #verdicts: Verdict[] = [];
  #tunnel: TunnelUnderTest | undefined;
  #running: RunningPeer | undefined;
  #notJudged: string | undefined;

  constructor(name: string, ends: TunnelEnds, options: RunOptions) {
    this.name = name;
    this.#ends = ends;
    this.#options = options;
  }

  get result(): TunnelResult {
    return {
      name: this.name,
      version: this.#running?.version ?? '',
      verdicts: this.#verdicts,
      ...(this.#notJudged === undefined ? {} : { notJudged: this.#notJudged }),
    };
  }

  /** Starts the programs of a known tunnel. */
  async start(peer: Peer, workspace: string): Promise<void> {
    this.#options.onProgress(`${this.name}: starts`);
    await this.#attempt(async () => {
      mkdirSync(workspace, { mode: 0o700 });
      this.#running = await peer.start(this.#ends.target, workspace, NO_LINK);
      const { entry, processes } = this.#running;
      this.reachedAt(
        entry,
        processes.map(({ pid }) => pid),
      );
    });
  }

  /** @param pids of the tunnel's processes; empty when they are not known */
  reachedAt(entry: Address, pids: readonly number[]): void {
    this.#ends.entry = entry;
    this.#tunnel = {
      ends: this.#ends,
      amounts: this.#options.amounts,
      ...(pids.length === 0 ? {} : { memory: new ResidentMemory(pids) }),
    };
  }

  /** Judges the cases that are quiet, or those that are not. */
  async judge(quiet: boolean): Promise<void> {
    for (const one of this.#options.cases.filter((each) => (each.quiet ?? false) === quiet)) {
      const tunnel = this.#tunnel;
      if (tunnel === undefined || this.#notJudged !== undefined) return;
      await this.#attempt(async () => {
        const verdict = await judge(one, tunnel);
        this.#verdicts.push(verdict);
        const { seen, seconds } = verdict;
        this.#options.onProgress(`${this.name}: ${one.id}: ${verdict.verdict} in ${seconds.toFixed(1)} s: ${seen}`);
      });
    }
  }

  async stop(): Promise<void> {
    this.#ends.close();
    await this.#running?.stop();
  }

  async #attempt(act: () => Promise<void>): Promise<void> {
    const { signal, onProgress } = this.#options;
    try {
      await untilAborted(signal, act);
    } catch (error) {
      signal.throwIfAborted();
      this.#notJudged = error instanceof Error ? error.message : String(error);
      onProgress(`${this.name}: not judged: ${this.#notJudged}`);
    }
  }
}

/** @throws the signal's reason as soon as it aborts; what is under way ends with the connections and programs that it waits for */
async function untilAborted(signal: AbortSignal, act: () => Promise<void>): Promise<void> {
  signal.throwIfAborted();
  let abort: () => void = () => undefined;
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort);
  });
  try {
    await Promise.race([act(), aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Judges a tunnel that someone else has started. */
export async function judgeRunning(
  { entry, targetPort, pids }: RunningTunnel,
  options: RunOptions,
): Promise<TunnelResult> {
  const ends = await TunnelEnds.listen(targetPort, options.amounts);
  const entrant = new Entrant(`${entry.host}:${entry.port}`, ends, options);
  try {
    entrant.reachedAt(entry, pids);
    await entrant.judge(false);
    await entrant.judge(true);
    return entrant.result;
  } finally {
    await entrant.stop();
  }
}

/** Starts the tunnels that the bench knows and judges them one after the other; the quiet cases of all run at the same time, in the end. */
export async function judgeKnown(
  peers: readonly Peer[],
  workspace: string,
  options: RunOptions,
): Promise<readonly TunnelResult[]> {
  const entrants: Entrant[] = [];
  try {
    for (const peer of peers) {
      const entrant = new Entrant(peer.name, await TunnelEnds.listen(0, options.amounts), options);
      entrants.push(entrant);
      await entrant.start(peer, join(workspace, peer.name));
      await entrant.judge(false);
    }
    await Promise.all(entrants.map((entrant) => entrant.judge(true)));
    return entrants.map(({ result }) => result);
  } finally {
    for (const entrant of entrants) await entrant.stop();
  }
}
