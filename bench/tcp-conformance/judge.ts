import type { ConformanceCase, TunnelUnderTest } from './cases/conformance-case.ts';
import { Deviation, within } from './deviation.ts';
import type { Verdict } from './result.ts';

/** Milliseconds that each case may take, beyond what it asks for. */
const LONGEST_MS = 60_000;
const DEFAULT_EXTRA_MS = 60_000;

/**
 * Runs one case and closes every connection that it leaves.
 * @throws Error when the kit itself fails
 */
export async function judge(one: ConformanceCase, tunnel: TunnelUnderTest): Promise<Verdict> {
  const started = performance.now();
  const verdict = (kept: 'pass' | 'fail', seen: string): Verdict => ({
    id: one.id,
    verdict: kept,
    seen,
    seconds: Math.round(performance.now() - started) / 1000,
  });
  const longestMs = LONGEST_MS + (one.extraMs?.(tunnel.amounts) ?? DEFAULT_EXTRA_MS);
  try {
    return verdict('pass', await within(longestMs, 'the whole case', one.run(tunnel)));
  } catch (error) {
    if (!(error instanceof Deviation)) throw error;
    return verdict('fail', error.message);
  } finally {
    tunnel.ends.release();
  }
}
