import { CulvertError } from '@culvert/protocol';
import type { Clock } from './clock.ts';

/** An `AbortSignal` that aborts with a CulvertError after a set time, unless cancelled. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Stops the timer, so that the signal never aborts. Idempotent. */
  cancel(): void;
  [Symbol.dispose](): void;
}

/** Creates a deadline `ms` milliseconds from now. When it passes, `error` creates the abort reason. Cancel or dispose it on success. */
export function deadline(clock: Clock, ms: number, error: () => CulvertError): Deadline {
  const controller = new AbortController();
  const timer = clock.setTimer(ms, () => controller.abort(error()));
  const cancel = (): void => timer.cancel();
  return { signal: controller.signal, cancel, [Symbol.dispose]: cancel };
}

/** A signal that aborts when one of several other signals aborts, until it is unlinked. */
export interface LinkedSignal {
  readonly signal: AbortSignal;
  /** Removes the listeners from the other signals. Idempotent. */
  unlink(): void;
  [Symbol.dispose](): void;
}

/**
 * Combines signals into one that aborts with the reason of the first of them to abort. Unlike the result of `AbortSignal.any`, it can be
 * unlinked, so that a long-lived signal does not accumulate one listener per short operation.
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

/** Returns a signal's abort reason: the reason itself if it is a `CulvertError`, else the error `aborted` with the reason as its cause. */
export function abortReason(signal: AbortSignal): CulvertError {
  return CulvertError.from(signal.reason, 'aborted');
}

/**
 * Resolves `ms` milliseconds from now.
 * @throws CulvertError the signal's {@link abortReason}, if the signal aborts earlier
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
