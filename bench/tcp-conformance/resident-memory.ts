import { treeUsage } from '../processes/usage.ts';
import { Deviation } from './deviation.ts';

/** Milliseconds between two looks at the memory. */
const LOOK_MS = 250;

/** Watches the resident memory of the tunnel's processes, each with everything that it started. */
export class ResidentMemory {
  readonly #pids: readonly number[];

  constructor(pids: readonly number[]) {
    this.#pids = pids;
  }

  /**
   * Watches from now on.
   * @returns stops watching and gives the most bytes by which all together had grown
   */
  watch(): () => number {
    const before = this.#resident();
    let most = 0;
    let failure: unknown;
    const look = (): void => {
      try {
        most = Math.max(most, this.#resident() - before);
      } catch (error) {
        failure = error;
        clearInterval(timer);
      }
    };
    const timer = setInterval(look, LOOK_MS);
    return () => {
      look();
      clearInterval(timer);
      if (failure !== undefined) throw failure;
      return most;
    };
  }

  #resident(): number {
    return this.#pids.reduce((sum, pid) => sum + residentBytes(pid), 0);
  }
}

function residentBytes(pid: number): number {
  try {
    return treeUsage(pid).residentBytes;
  } catch {
    throw new Deviation(`process ${pid} of the tunnel has ended`);
  }
}
