import {
  ANNOUNCEMENT_PROPERTY,
  ANNOUNCEMENT_TOPIC,
  type Announcement,
  formatAnnouncement,
  formatSessionReport,
  SESSION_REPORT_TOPIC,
  type SessionCapability,
} from '@culvert/protocol';
import { FakeClock, type ScriptedChannel, ScriptedHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { DeviceClient } from './device-client.ts';

const session = (highest: number): { session: SessionCapability } => ({
  session: { lowest: 1, highest, encrypted: true },
});

let hub: ScriptedHub;
let device: DeviceClient;
let opened: Promise<void>;

beforeEach(async () => {
  hub = await ScriptedHub.start();
});
afterEach(async () => {
  await device.close();
  await hub.stop();
});

function open(announcement?: Announcement): Promise<ScriptedChannel> {
  device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
    onStream: (offer) => offer.reject(),
    outbound: { ca: hub.ca },
    clock: new FakeClock(),
    keepaliveSeconds: 1_800,
    // Announces nothing of its own.
    session: false,
    ...(announcement === undefined ? {} : { announcement }),
  });
  opened = device.open();
  return hub.channel();
}

async function announced(channel: ScriptedChannel): Promise<string> {
  const { topic, payload } = await channel.take('publish');
  expect(topic).toBe(ANNOUNCEMENT_TOPIC);
  return String(payload);
}

it('a device without an announcement sends none', async () => {
  const channel = await open();
  expect((await channel.welcome()).properties?.userProperties).toBeUndefined();
  await opened;
  device.announce(undefined);
  device.announce(session(1));
  expect(await announced(channel)).toBe(formatAnnouncement(session(1)));
});

it('announces when it connects, and again when that changes', async () => {
  const channel = await open(session(1));
  const { properties } = await channel.welcome();
  expect({ ...properties?.userProperties }).toEqual({ [ANNOUNCEMENT_PROPERTY]: formatAnnouncement(session(1)) });
  await opened;
  device.announce(session(1));
  device.announce(session(2));
  expect(await announced(channel)).toBe(formatAnnouncement(session(2)));
  device.announce(undefined);
  expect(await announced(channel)).toBe(formatAnnouncement({}));
});

it('what changes while it connects is announced as soon as it is attached', async () => {
  const channel = await open(session(1));
  const connect = await channel.take('connect');
  expect({ ...connect.properties?.userProperties }).toEqual({
    [ANNOUNCEMENT_PROPERTY]: formatAnnouncement(session(1)),
  });
  device.announce(session(3));
  channel.send({ cmd: 'connack', reasonCode: 0, sessionPresent: false });
  const { messageId = 0 } = await channel.take('subscribe');
  channel.send({ cmd: 'suback', messageId, granted: [0] });
  await opened;
  expect(await announced(channel)).toBe(formatAnnouncement(session(3)));
});

it('a report on a session is sent while the device is attached', async () => {
  const report = { session: 'ab'.repeat(16), connections: [] };
  const channel = await open();
  expect(device.reportSession(report)).toBe(false);
  await channel.welcome();
  await opened;
  expect(device.reportSession(report)).toBe(true);
  const { topic, payload } = await channel.take('publish');
  expect([topic, String(payload)]).toEqual([SESSION_REPORT_TOPIC, formatSessionReport(report)]);
  const invalid = { ...report, session: 'x' };
  expect(() => device.reportSession(invalid)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
});

it('an announcement that is not valid is refused', async () => {
  const invalid = { session: { lowest: 2, highest: 1, encrypted: true } };
  const channel = await open();
  await channel.welcome();
  await opened;
  expect(() => device.announce(invalid)).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
  const create = () =>
    DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
      onStream: (offer) => offer.reject(),
      announcement: invalid,
    });
  expect(create).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
});

it('announces the sessions that it serves, unless told not to', async () => {
  device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
    onStream: (offer) => offer.reject(),
    outbound: { ca: hub.ca },
  });
  opened = device.open();
  const { properties } = await (await hub.channel()).welcome();
  const serves = { session: { lowest: 1, highest: 1, encrypted: false } };
  expect({ ...properties?.userProperties }).toEqual({ [ANNOUNCEMENT_PROPERTY]: formatAnnouncement(serves) });
  await opened;
});
