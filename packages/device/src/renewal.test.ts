import { formatOfferTopic } from '@culvert/protocol';
import { FakeClock, type ScriptedChannel, ScriptedHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DeviceClient } from './device-client.ts';
import type { StreamOffer } from './stream-offer.ts';

const START = Date.UTC(2026, 0, 1);

let hub: ScriptedHub;
let clock: FakeClock;
let device: DeviceClient;
let told: string[];
let onStream: (offer: StreamOffer) => void | Promise<void>;
let first: ScriptedChannel;
let firstToken: string;

beforeEach(async () => {
  hub = await ScriptedHub.start();
  clock = new FakeClock(START);
  told = [];
  onStream = (offer) => offer.reject('none');
  device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
    onStream: (offer) => onStream(offer),
    onStateChange: (state, error) => told.push(error === undefined ? state : `${state} ${error.code}`),
    outbound: { ca: hub.ca },
    clock,
    keepaliveSeconds: 1_800,
    tokenLifetimeSeconds: 1_000,
    random: () => 0.5,
  });
  const opened = device.open();
  first = await hub.channel();
  firstToken = String((await first.welcome()).password);
  await opened;
});

afterEach(async () => {
  await device.close();
  await expect.poll(() => clock.timers).toBe(0);
  await hub.stop();
});

/** The second of the test at which the client created the token of this CONNECT. */
function signedAt(connect: { password?: Buffer }): number {
  const expiry = /&se=(\d+)/.exec(String(connect.password))?.[1];
  return Number(expiry) - 1_000 - START / 1_000;
}

const OFFER = { streamName: 'echo', url: 'wss://127.0.0.1:1/x', token: 'grant' };

it('a newer connection takes over before the token expires, and nobody is bothered', async () => {
  await clock.advance(849_999);
  await clock.advance(1);
  const second = await hub.channel();
  const connect = await second.take('connect');
  expect(signedAt(connect)).toBe(850);
  expect(String(connect.password)).not.toBe(firstToken);
  // The hub closes the first connection when it accepts the second. Until then an offer may arrive on the first.
  first.publish(formatOfferTopic({ ...OFFER, requestId: 'a' }));
  expect((await first.take('publish')).topic).toContain('/400/?$rid=a');
  first.disconnect(0x8e, 'A newer connection of the same device took over.');
  await first.closed;
  second.send({ cmd: 'connack', reasonCode: 0, sessionPresent: false });
  const { messageId = 0 } = await second.take('subscribe');
  second.send({ cmd: 'suback', messageId, granted: [0] });
  second.publish(formatOfferTopic({ ...OFFER, requestId: 'b' }));
  expect((await second.take('publish')).topic).toContain('/400/?$rid=b');
  expect(device.state).toBe('attached');
  expect(told).toEqual(['connecting', 'attached']);
  // Checks that the second token is renewed in time too.
  await clock.advance(849_999);
  await clock.advance(1);
  expect(signedAt(await (await hub.channel()).welcome())).toBe(1_700);
  await second.take('disconnect');
  expect(told).toEqual(['connecting', 'attached']);
});

it('waits for the offer that is being answered', async () => {
  let release: () => void = () => undefined;
  onStream = async (offer) => {
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    await offer.reject('done');
  };
  const idle = clock.timers;
  await clock.advance(849_999);
  first.publish(formatOfferTopic({ ...OFFER, requestId: 'a' }));
  await expect.poll(() => clock.timers).toBe(idle);
  await clock.advance(10_001);
  release();
  expect((await first.take('publish')).topic).toContain('$rid=a');
  expect(signedAt(await (await hub.channel()).welcome())).toBe(860);
  await first.take('disconnect');
});

it('does not wait forever', async () => {
  onStream = () => new Promise<void>(() => undefined);
  const idle = clock.timers;
  await clock.advance(830_000);
  first.publish(formatOfferTopic({ ...OFFER, requestId: 'a' }));
  // The number of timers is unchanged: the timer for a stable connection has fired, and the offer's timer was added.
  await expect.poll(() => clock.timers).toBe(idle);
  await clock.advance(30_000);
  first.publish(formatOfferTopic({ ...OFFER, requestId: 'b' }));
  await expect.poll(() => clock.timers).toBe(idle + 1);
  await clock.advance(49_999);
  await clock.advance(1);
  expect(signedAt(await (await hub.channel()).welcome())).toBe(910);
  await first.take('publish');
});

it('tries again while the first connection still stands', async () => {
  await clock.advance(850_000);
  await (await hub.channel()).refuse(0x88, 'busy');
  await expect
    .poll(async () => {
      await clock.advance(50);
      return hub.unclaimedChannels;
    })
    .toBe(1);
  await (await hub.channel()).welcome();
  await first.take('disconnect');
  expect(told).toEqual(['connecting', 'attached']);
});

it('goes on with the newer connection when the first breaks meanwhile', async () => {
  await clock.advance(850_000);
  const second = await hub.channel();
  first.socket.terminate();
  await expect.poll(() => device.state).toBe('connecting');
  await second.welcome();
  await expect.poll(() => device.state).toBe('attached');
  expect(told).toEqual(['connecting', 'attached', 'connecting stream_lost', 'attached']);
});

it('comes back when the hub takes the first away and then refuses the second', async () => {
  await clock.advance(850_000);
  const second = await hub.channel();
  first.disconnect(0x8e, 'taken over');
  await first.closed;
  await second.refuse(0x88, 'busy');
  await expect.poll(() => device.state).toBe('waiting');
  await clock.advance(250);
  await (await hub.channel()).welcome();
  await expect.poll(() => device.state).toBe('attached');
});
