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
  // After all sockets that were ready in this turn, so that what they bring goes into one message: a message costs more than what it carries.
  defer: (callback) => void setImmediate(callback),
  random: (bytes) => randomBytes(bytes),
  jitter: Math.random,
  hmac: (key, data, done) => done(createHmac('sha256', key).update(data).digest()),
};
