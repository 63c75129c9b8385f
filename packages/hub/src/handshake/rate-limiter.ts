import { CulvertError, type Identity, type LimitName } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { EventSink } from '../observe/events.ts';
import { TokenBucket, TokenBuckets } from './token-bucket.ts';

/** Limits on stream requests and streams; see the configuration. */
export interface RateLimits {
  readonly heldRequests: number;
  readonly streams: number;
  readonly streamsPerDevice: number;
  readonly newStreamsPerSecond: number;
  readonly newStreamsPerSecondPerDevice: number;
}

export interface RateLimiterOptions {
  readonly limits: RateLimits;
  /** Current streams and waiting connections at the gateway. */
  readonly atGateway: () => number;
  /** Current streams of a device, counted from the request on. */
  readonly ofDevice: (deviceId: string) => number;
  /** Bytes that remain of the device's daily limit. */
  readonly leftToday: (deviceId: string) => number;
  readonly clock: Clock;
  readonly onEvent: EventSink;
}

/** Decides whether another stream may be requested. Each refusal emits `limit-reached`. */
export class RateLimiter {
  readonly #options: RateLimiterOptions;
  readonly #rate: TokenBucket;
  readonly #deviceRates: TokenBuckets;
  #held = 0;

  constructor(options: RateLimiterOptions) {
    this.#options = options;
    this.#rate = new TokenBucket(options.limits.newStreamsPerSecond);
    this.#deviceRates = new TokenBuckets(options.limits.newStreamsPerSecondPerDevice);
  }

  /** Requests that wait for their device. */
  get held(): number {
    return this.#held;
  }

  /**
   * Reserves one of the held requests and returns a function that releases it. Checks the limits of the whole hub first, before
   * anything is stored for the stream, so that refusing a flood costs only a few comparisons.
   * @param takesPlace whether the stream takes the place of another one of its session, so that it adds none to the hub's streams
   * @throws CulvertError `too_many_requests`
   */
  hold(takesPlace = false): () => void {
    const { limits, clock } = this.#options;
    if (this.#held >= limits.heldRequests) throw this.#refusal('heldRequests', undefined);
    if (!takesPlace && this.isFull) {
      throw this.#refusal('streams', undefined, 'The hub carries as many streams as it may.');
    }
    if (!this.#rate.take(clock.now())) {
      throw this.#refusal('newStreamsPerSecond', undefined, 'The hub takes no more new streams in this second.');
    }
    this.#held++;
    return () => {
      this.#held--;
    };
  }

  /** Whether the hub carries as many streams as it may. */
  get isFull(): boolean {
    return this.#options.atGateway() >= this.#options.limits.streams;
  }

  /**
   * @param takesPlace as for {@link hold}
   * @throws CulvertError `too_many_requests`, `quota_reached`
   */
  admitTo(identity: Identity, takesPlace = false): void {
    const { limits, ofDevice, leftToday, clock } = this.#options;
    const { deviceId } = identity;
    if (!takesPlace && ofDevice(deviceId) >= limits.streamsPerDevice) {
      throw this.#refusal('streamsPerDevice', identity, 'The device has as many streams as it may.');
    }
    if (!this.#deviceRates.take(deviceId, clock.now())) {
      const text = 'The device takes no more new streams in this second.';
      throw this.#refusal('newStreamsPerSecondPerDevice', identity, text);
    }
    if (leftToday(deviceId) <= 0) {
      this.#options.onEvent({ type: 'limit-reached', limit: 'bytesPerDevicePerDay', identity });
      throw new CulvertError(
        'quota_reached',
        'The device has reached its limit of bytes for today; the day ends at 00:00 UTC.',
      );
    }
  }

  /** New streams in the last second. */
  get newStreams(): number {
    return this.#rate.used(this.#options.clock.now());
  }

  /** New streams in the last second of the device that has the most. */
  get mostNewStreamsOfOneDevice(): number {
    return this.#deviceRates.mostUsed(this.#options.clock.now());
  }

  #refusal(limit: LimitName, identity: Identity | undefined, text?: string): CulvertError {
    this.#options.onEvent({ type: 'limit-reached', limit, identity });
    return new CulvertError('too_many_requests', text);
  }
}
