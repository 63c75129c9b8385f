import { createHmac, randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import type { SessionEnvironment } from './core/environment.ts';

/** A session's environment on Node. Its timers do not keep the process alive; open connections must, see {@link ProcessHold}. */
export const nodeEnvironment: SessionEnvironment = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimer(ms, callback) {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
  defer: (callback) => process.nextTick(callback),
  random: (bytes) => randomBytes(bytes),
  jitter: Math.random,
  hmac: (key, data, done) => done(createHmac('sha256', key).update(data).digest()),
};
