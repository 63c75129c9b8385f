import type { SessionEnvironment } from '../src/core/environment.ts';
import { World } from './virtual-world.ts';

/** A virtual world in which an HMAC takes its time, as WebCrypto's does in a browser. Results may come in another order than they were asked for. */
export class SlowHmacWorld extends World {
  readonly #takesMs: () => number;

  /** @param takesMs milliseconds that the next HMAC takes; below 0 it is there at once */
  constructor(seed: number, takesMs: (world: SlowHmacWorld) => number) {
    super(seed);
    this.#takesMs = () => takesMs(this);
  }

  override environment(): SessionEnvironment {
    const environment = super.environment();
    return {
      ...environment,
      hmac: (key, data, done) => {
        environment.hmac(key, data, (mac) => {
          const ms = this.#takesMs();
          if (ms < 0) done(mac);
          else this.setTimer(ms, () => done(mac));
        });
      },
    };
  }
}
