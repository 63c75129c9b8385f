import { generateEndKey, parseEndKey } from '@culvert/session/keys';
import { FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { failure, roundTrip, SessionEnds } from './session-ends.fixture.ts';

let hub: TestHub;
let ends: SessionEnds;
let clock: FakeClock;

beforeEach(async () => {
  // No wait is part of this: the clock stands still.
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  hub = await startHub({ clock });
  ends = new SessionEnds(hub);
});
afterEach(async () => {
  await ends.stop();
  await hub.stop();
});

/** The ids of the streams that carry the session with the device, once both ends have reached them. */
async function links(): Promise<string[]> {
  const ids: string[] = [];
  for await (const { streamId } of hub.owner.streams.list({ deviceId: 'd' })) ids.push(streamId);
  return ids;
}

const requests = () => hub.events.filter(({ type }) => type === 'stream-requested').length;

interface Ending {
  readonly act: () => Promise<unknown>;
  readonly code: string;
  readonly text: RegExp;
}

describe.each<[string, Ending]>([
  [
    'an administrator closes a stream of it',
    {
      act: async () => hub.owner.streams.close((await links())[0] ?? '', 'lunch'),
      code: 'closed_by_administrator',
      text: /An administrator closed the stream: lunch/,
    },
  ],
  [
    'the device is disabled',
    {
      act: async () => hub.owner.devices.update({ deviceId: 'd', status: 'disabled' }),
      code: 'revoked',
      text: /The device was disabled/,
    },
  ],
  [
    'the policy of the service is revoked',
    {
      act: async () => {
        // Its secondary key is the primary one from the first time on, and gone with the second.
        await hub.owner.policies.rotate('service');
        await hub.owner.policies.rotate('service');
      },
      code: 'revoked',
      text: /The key in use was removed/,
    },
  ],
])('a session, when %s,', (_, { act, code, text }) => {
  it.each([
    ['without encryption', undefined],
    ['encrypted', parseEndKey(generateEndKey(), 'a test')],
  ])('%s, ends at once at both ends, with the reason, and is not resumed', async (_mode, key) => {
    await ends.device({ clock, session: { onEvent: (event) => ends.deviceEvents.push(event), ...(key && { key }) } });
    const service = await ends.service({ clock });
    const stream = await service.openStream('d', { name: 'ssh' });
    await roundTrip(stream);
    const failed = failure(stream);
    await act();
    expect(await failed).toMatchObject({ code, message: expect.stringMatching(text) });
    await expect.poll(() => ends.deviceErrors).toMatchObject([{ code, message: expect.stringMatching(text) }]);
    const sessionId = ends.serviceEvents[0]?.sessionId;
    const ended = { type: 'session-ended', sessionId, reason: 'closed', text: expect.stringMatching(text) };
    const begun = { type: key === undefined ? 'unencrypted' : 'device-key-pinned', sessionId, deviceId: 'd' };
    expect(ends.serviceEvents).toMatchObject([begun, { ...ended, deviceId: 'd' }]);
    expect(ends.deviceEvents.at(-1)).toMatchObject(ended);
    expect(requests()).toBe(1);
  });
});
