import type { CulvertError } from '@culvert/protocol';
import type { Clock, Timer } from '@culvert/stream';
import type { Attached } from './attached.ts';
import type { Attempt } from './attempt.ts';

/** The state of a client. Each state owns its timers and listeners; `leave()` releases them and resolves when they are released. */
export type ConnectionState = Closed | Connecting | Attached | Waiting;

/** Not opened, or closed. */
export class Closed {
  readonly name = 'closed';

  leave(): Promise<void> {
    return Promise.resolve();
  }
}

/** A connection attempt is in progress. */
export class Connecting {
  readonly name = 'connecting';
  readonly #attempt: Attempt;

  constructor(attempt: Attempt) {
    this.#attempt = attempt;
  }

  leave(): Promise<void> {
    this.#attempt.abort();
    return Promise.resolve();
  }
}

/** Backing off until the next attempt. */
export class Waiting {
  readonly name = 'waiting';
  readonly #timer: Timer;

  constructor(clock: Clock, ms: number, onDue: () => void) {
    this.#timer = clock.setTimer(ms, onDue);
  }

  leave(): Promise<void> {
    this.#timer.cancel();
    return Promise.resolve();
  }
}

/** Called when a client has entered a state. `error`: the reason; `retryInMs`: milliseconds until the next attempt, in the state `waiting`. */
export type StateCallback = (state: ConnectionState['name'], error?: CulvertError, retryInMs?: number) => void;
