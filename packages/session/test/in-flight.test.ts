import { describe, expect, it } from 'vitest';
import { InFlight } from '../src/core/in-flight.ts';

/** A link whose round trip takes 10 ms, and an estimate of it. */
function link() {
  let now = 0;
  let sent = 0;
  const estimate = new InFlight(0, () => now);
  return {
    estimate,
    /** Sends `bytes` and has them acknowledged a round trip later. */
    roundTrip(bytes: number, isProgramLimited: boolean): void {
      sent += bytes;
      estimate.sent(sent, isProgramLimited);
      now += 10;
      estimate.acknowledge(sent);
    },
    wait(ms: number): void {
      now += ms;
    },
  };
}

describe('the estimated rate', () => {
  it('is not lowered by a program that has little to send', () => {
    const { estimate, roundTrip } = link();
    roundTrip(100_000, false);
    expect(estimate.rate).toBe(10_000);
    for (let index = 0; index < 1_000; index++) roundTrip(100, true);
    expect(estimate.rate).toBe(10_000);
  });

  it('falls with that of the link after two periods of 500 ms', () => {
    const { estimate, roundTrip } = link();
    roundTrip(100_000, false);
    for (let index = 0; index < 45; index++) roundTrip(10_000, false);
    expect(estimate.rate).toBe(10_000);
    for (let index = 0; index < 60; index++) roundTrip(10_000, false);
    expect(estimate.rate).toBe(1_000);
  });
});
