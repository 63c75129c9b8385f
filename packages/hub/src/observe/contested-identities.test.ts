import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { ContestedIdentities } from './contested-identities.ts';
import type { HubEvent } from './events.ts';

it('tells a dispute once, with where both come from, and again after it has rested', async () => {
  const clock = new FakeClock();
  const events: HubEvent[] = [];
  const { observe } = new ContestedIdentities({ clock, onEvent: (event) => events.push(event) });
  const evicted = (remoteAddress: string, error: 'taken_over' | 'device_gone' = 'taken_over') =>
    observe({
      ...{ type: 'device-detached', deviceId: 'd', moduleId: 'm', protocol: 'mqtt', remoteAddress, error },
      ...{ detail: '', connectedMs: 1 },
    });
  // A client that renews its token replaces its own connection once an hour.
  for (let hour = 0; hour < 24; hour++) {
    evicted('192.0.2.1');
    await clock.advance(3_600_000);
  }
  for (let n = 0; n < 9; n++) evicted('192.0.2.1', 'device_gone');
  expect(events).toEqual([]);
  const dispute = async () => {
    for (let n = 0; n < 20; n++) {
      evicted(n % 2 === 0 ? '192.0.2.1' : '192.0.2.2');
      await clock.advance(600_000);
    }
  };
  await dispute();
  const told = { type: 'identity-contested', deviceId: 'd', moduleId: 'm', takeOvers: 4 };
  expect(events).toEqual([{ ...told, addresses: '192.0.2.1, 192.0.2.2' }]);
  await clock.advance(901_000);
  await dispute();
  expect(events).toHaveLength(2);
});
