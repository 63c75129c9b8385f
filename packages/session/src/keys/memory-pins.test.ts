import { FakeClock } from '@culvert/testkit';
import { expect, it } from 'vitest';
import { parseFingerprint } from './fingerprint.ts';
import { MAX_PINS } from './known-devices-file.ts';
import { MemoryPins } from './memory-pins.ts';

const [A, B] = [parseFingerprint(`SHA256:${'A'.repeat(43)}`), parseFingerprint(`SHA256:${'E'.repeat(43)}`)];
const name = { hub: 'hub.example.com', deviceId: 'press-7' };

it('pins in memory are kept from the first use, for each hub, device and module', async () => {
  const pins = new MemoryPins(new FakeClock());
  expect(await pins.find(name)).toBeUndefined();
  expect(await pins.checkOrPin(name, A)).toEqual({ verdict: 'first-use' });
  const pin = { ...name, fingerprint: A, since: expect.stringMatching(/Z$/) };
  expect(await pins.find({ ...name, hub: 'HUB.example.com' })).toEqual(pin);
  expect(await pins.checkOrPin(name, A)).toEqual({ verdict: 'match', pin });
  expect(await pins.checkOrPin(name, B)).toEqual({ verdict: 'changed', pin });
  for (const other of [
    { ...name, moduleId: 'm' },
    { ...name, hub: 'other' },
  ])
    expect(await pins.checkOrPin(other, B)).toEqual({ verdict: 'first-use' });
});

it('pins in memory are limited, and a device beyond the limit is refused', async () => {
  const pins = new MemoryPins(new FakeClock());
  for (let index = 0; index < MAX_PINS; index++) await pins.checkOrPin({ ...name, deviceId: `d${index}` }, A);
  await expect(pins.checkOrPin(name, A)).rejects.toMatchObject({ code: 'limit_reached' });
  expect(await pins.checkOrPin({ ...name, deviceId: 'd0' }, A)).toMatchObject({ verdict: 'match' });
});
