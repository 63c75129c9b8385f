import { CulvertError } from '@culvert/protocol';
import type { Clock } from './clock.ts';

/** An `AbortSignal` that aborts with a typed reason after a time, unless cancelled. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Stops the timer: the signal will never abort by time. May be called any number of times. */
  cancel(): void;
  [Symbol.dispose](): void;
}

/** A deadline `ms` milliseconds from now; `error` creates the reason when it passes. Dispose it on success. */
export function deadline(clock: Clock, ms: number, error: () => CulvertError): Deadline {
  const controller = new AbortController();
  const timer = clock.setTimer(ms, () => controller.abort(error()));
  const cancel = (): void => timer.cancel();
  return { signal: controller.signal, cancel, [Symbol.dispose]: cancel };
}

/** A signal that follows several others until it is unlinked. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  /** Removes every listener from the signals followed. May be called any number of times. */
  unlink(): void;
  [Symbol.dispose](): void;
}

/**
 * Joins signals: the first to abort gives the reason. Unlike `AbortSignal.any` it can be unlinked, so a long-lived signal does not
 * gather a listener for every short operation.
 */
export function linkSignals(signals: readonly (AbortSignal | undefined)[]): LinkedSignal {
  const controller = new AbortController();
  const followed: [AbortSignal, () => void][] = [];
  const unlink = (): void => {
    for (const [signal, follow] of followed.splice(0)) signal.removeEventListener('abort', follow);
  };
  for (const signal of signals) {
    if (signal === undefined) continue;
    const follow = (): void => {
      unlink();
      controller.abort(signal.reason);
    };
    if (signal.aborted) {
      follow();
      break;
    }
    signal.addEventListener('abort', follow);
    followed.push([signal, follow]);
  }
  return { signal: controller.signal, unlink, [Symbol.dispose]: unlink };
}

/** Why a signal was aborted: its reason when that is a `CulvertError`, else `aborted` with the reason as its cause. */
export function abortReason(signal: AbortSignal): CulvertError {
  return CulvertError.from(signal.reason, 'aborted');
}

/**
 * Resolves `ms` milliseconds from now.
 * @throws CulvertError the signal's {@link abortReason} when it aborts before
 */
export function delay(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(abortReason(signal));
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      if (signal !== undefined) reject(abortReason(signal));
    };
    const timer = clock.setTimer(ms, () => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    });
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
