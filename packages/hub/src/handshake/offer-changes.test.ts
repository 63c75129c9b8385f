import { CulvertError } from '@culvert/protocol';
import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import type { ControlChannel } from '../control/control-channel.ts';
import { CHANGE_INTERVAL_MS, CHANGES_AT_ONCE, OfferChanges } from './offer-changes.ts';

function bench() {
  const clock = new FakeClock();
  const told: boolean[] = [];
  const changes = new OfferChanges({
    clock,
    onEvent: (event) => event.type === 'device-offers-changed' && told.push(event.takesOffers),
  });
  const connect = () => {
    let end: (error: CulvertError) => void = () => undefined;
    const closed = new Promise<CulvertError>((resolve) => {
      end = resolve;
    });
    const state = { identity: { deviceId: 'd' }, takesOffers: false, closed };
    const channel = state as Partial<ControlChannel> as ControlChannel;
    return {
      end: () => end(new CulvertError('device_gone')),
      change(takesOffers: boolean) {
        state.takesOffers = takesOffers;
        changes.changed(channel);
      },
    };
  };
  return { clock, told, connect };
}

it('tells a change as it comes', async () => {
  const { clock, told, connect } = bench();
  const device = connect();
  for (let turn = 0; turn < 5; turn++) {
    device.change(true);
    device.change(false);
    await clock.advance(2 * CHANGE_INTERVAL_MS);
  }
  expect(told).toEqual([true, false, true, false, true, false, true, false, true, false]);
  expect(clock.timers).toBe(0);
});

it('a device that subscribes and unsubscribes in a loop is told of now and then, and how it is in the end', async () => {
  const { clock, told, connect } = bench();
  const device = connect();
  for (let change = 0; change < 10_001; change++) device.change(change % 2 === 0);
  expect(told).toHaveLength(CHANGES_AT_ONCE);
  expect(told.at(-1)).toBe(false);
  expect(clock.timers).toBe(1);
  await clock.advance(CHANGE_INTERVAL_MS);
  expect(told.slice(CHANGES_AT_ONCE)).toEqual([true]);
  for (let second = 0; second < 60; second++) {
    for (let change = 0; change < 101; change++) device.change((change + second) % 2 === 0);
    await clock.advance(1_000);
  }
  expect(told.length).toBeLessThanOrEqual(CHANGES_AT_ONCE + 1 + 60_000 / CHANGE_INTERVAL_MS);
});

it('what is again as it was told is not told again', async () => {
  const { clock, told, connect } = bench();
  const device = connect();
  for (let change = 0; change < CHANGES_AT_ONCE + 2; change++) device.change(change % 2 === 0);
  await clock.advance(CHANGE_INTERVAL_MS);
  expect(told).toHaveLength(CHANGES_AT_ONCE);
});

it('nothing of a channel stays behind it, and the next one is told of at once', async () => {
  const { clock, told, connect } = bench();
  const device = connect();
  for (let change = 0; change < 100; change++) device.change(change % 2 === 0);
  device.end();
  await clock.advance(0);
  expect(clock.timers).toBe(0);
  device.change(true);
  expect([told.length, clock.timers]).toEqual([CHANGES_AT_ONCE, 0]);
  connect().change(true);
  expect(told).toHaveLength(CHANGES_AT_ONCE + 1);
});
