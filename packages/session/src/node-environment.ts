import { createHmac, randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { inBackground, systemClock } from '@culvert/stream';
import type { SessionEnvironment } from './core/environment.ts';

const background = inBackground(systemClock);

/** A session's environment on Node. Its timers do not keep the process alive; open connections must, see {@link ProcessHold}. */
export const nodeEnvironment: SessionEnvironment = {
  now: () => performance.now(),
  wallNow: () => Date.now(),
  setTimer(ms, callback) {
    const timer = background.setTimer(ms, callback);
    return () => timer.cancel();
  },
  defer: (callback) => process.nextTick(callback),
  random: (bytes) => randomBytes(bytes),
  jitter: Math.random,
  hmac: (key, data, done) => done(createHmac('sha256', key).update(data).digest()),
};
