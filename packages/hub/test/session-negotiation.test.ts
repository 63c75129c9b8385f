import { once } from 'node:events';
import { DeviceClient, type StreamOffer } from '@culvert/device';
import {
  type Announcement,
  formatAnnouncement,
  formatSessionRequest,
  MAX_ANNOUNCEMENT_BYTES,
  type NoSession,
  OFFER_PROPERTIES,
  readNoSession,
  STREAM_HEADERS,
} from '@culvert/protocol';
import { type OpenedSessionStream, ServiceClient } from '@culvert/service';
import { dialStream } from '@culvert/stream';
import { azureError, FakeClock, RestCaller, type RestReply, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import {
  type AttachSessionDevice,
  attachAmqp,
  attachMqtt,
  type RawOffer,
  type SessionDevice,
} from './session-device.fixture.ts';

const ID = 'ab'.repeat(16);
const asked = { id: ID, lowest: 1, highest: 2, encrypted: true };
const ABILITY: Announcement = { session: { lowest: 1, highest: 1, encrypted: true } };

let test: TestHub;
let clock: FakeClock;
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function start(limits: Record<string, number> = {}): Promise<void> {
  clock = new FakeClock(Math.floor(Date.now() / 1000) * 1000);
  const started = await startHub({
    clock,
    config: { limits, mqttListen: '127.0.0.1:0', amqpListen: '127.0.0.1:0' },
  });
  test = started;
  cleanups.push(() => started.stop());
}

const attacher =
  (attach: AttachSessionDevice) =>
  async (announcement?: string): Promise<SessionDevice> => {
    const device = await attach(test, clock.now() + 3_600_000, announcement);
    cleanups.push(() => device.drop());
    return device;
  };
const mqtt = (version: 4 | 5) => attacher(attachMqtt(version));
const amqp = attacher(attachAmqp);

/** Asks as any HTTP client may. */
function ask(headers: Record<string, string> = {}): Promise<RestReply> {
  return new RestCaller(test).call('POST', '/twins/d/streams/ssh', { policy: 'service', headers });
}

const ASK = { [STREAM_HEADERS.session]: formatSessionRequest(asked) };

function sessionIn(offer: RawOffer): Record<string, unknown> {
  const names = [OFFER_PROPERTIES.session, OFFER_PROPERTIES.services, OFFER_PROPERTIES.idleMs];
  return Object.fromEntries(
    names.flatMap((name) => (name in offer.properties ? [[name, offer.properties[name]]] : [])),
  );
}

/** What one device was offered and what the service was told, with an answer of this text. */
async function negotiate(device: SessionDevice, answer: string | undefined, headers: Record<string, string> = ASK) {
  const reply = ask(headers);
  const offer = await device.nextOffer();
  device.accept(offer, answer);
  const { status, headers: told } = await reply;
  expect(status).toBe(200);
  return { offer: sessionIn(offer), reply: told[STREAM_HEADERS.session], idleMs: told[STREAM_HEADERS.idleMs] };
}

const RAW = { offer: {}, reply: undefined, idleMs: undefined };
const OFFERED = { [OFFER_PROPERTIES.session]: formatSessionRequest(asked), [OFFER_PROPERTIES.services]: '*' };

describe.each([
  ['MQTT 5', mqtt(5)],
  ['AMQP', amqp],
] as const)('over %s', (_, attach) => {
  it('a session comes about when all four say so', async () => {
    await start();
    const device = await attach(formatAnnouncement(ABILITY));
    expect(await negotiate(device, 'version=1; encrypted=1')).toEqual({
      ...{ offer: OFFERED, reply: 'version=1; encrypted=1', idleMs: undefined },
    });
    const requested = await test.event('stream-requested');
    expect(requested).toMatchObject({ sessionId: ID });
    expect(await test.event('stream-answered')).toMatchObject({ session: { version: 1, encrypted: true } });
    expect(await test.owner.streams.get(requested.streamId)).toMatchObject({
      ...{ state: 'accepted', sessionId: ID, sessionVersion: 1, sessionEncrypted: true },
    });
  });

  it('both ends are told the limit on idle streams', async () => {
    await start({ idleMs: 90_000 });
    const device = await attach(formatAnnouncement(ABILITY));
    expect(await negotiate(device, 'version=1; encrypted=0')).toEqual({
      offer: { ...OFFERED, [OFFER_PROPERTIES.idleMs]: '90000' },
      ...{ reply: 'version=1; encrypted=0', idleMs: '90000' },
    });
    // It answers with none: the stream is raw, and nothing is said of it.
    expect(await negotiate(device, undefined)).toMatchObject({ reply: undefined, idleMs: undefined });
  });

  it('the offer repeats keys that the hub does not know', async () => {
    await start();
    const device = await attach(formatAnnouncement(ABILITY));
    const text = `${formatSessionRequest(asked)}; later=1`;
    const { offer } = await negotiate(device, undefined, { [STREAM_HEADERS.session]: text });
    expect(offer[OFFER_PROPERTIES.session]).toBe(text);
  });

  it('a device that announced nothing is sent nothing, and its answer counts for nothing', async () => {
    await start({ idleMs: 90_000 });
    const device = await attach();
    expect(await negotiate(device, 'version=1; encrypted=1')).toEqual(RAW);
    const { streamId } = await test.event('stream-requested');
    expect(await test.owner.streams.get(streamId)).toMatchObject({
      ...{ sessionId: ID, sessionVersion: null, sessionEncrypted: null },
    });
  });

  it('a service that asks for none has a raw stream, whatever the device answers', async () => {
    await start({ idleMs: 90_000 });
    const device = await attach(formatAnnouncement(ABILITY));
    expect(await negotiate(device, 'version=1; encrypted=1', {})).toEqual(RAW);
    const { streamId } = await test.event('stream-requested');
    expect(await test.owner.streams.get(streamId)).toMatchObject({ sessionId: null, sessionVersion: null });
  });

  it.each([
    ['below the range of the service', { lowest: 2, highest: 3 }, { lowest: 1, highest: 3 }, 1],
    ['above the range of the service', { lowest: 1, highest: 1 }, { lowest: 1, highest: 3 }, 2],
    ['below the range of the device', { lowest: 1, highest: 3 }, { lowest: 2, highest: 3 }, 1],
    ['above the range of the device', { lowest: 1, highest: 3 }, { lowest: 1, highest: 1 }, 2],
  ])('a version %s is ignored', async (_what, service, announced, version) => {
    await start();
    const device = await attach(formatAnnouncement({ session: { ...announced, encrypted: true } }));
    const headers = { [STREAM_HEADERS.session]: formatSessionRequest({ ...asked, ...service }) };
    expect(await negotiate(device, `version=${version}; encrypted=1`, headers)).toMatchObject({ reply: undefined });
  });

  it.each(['', 'x', 'version=1', 'version=1; encrypted=yes'])('the answer %j is ignored', async (text) => {
    await start();
    const device = await attach(formatAnnouncement(ABILITY));
    expect(await negotiate(device, text)).toMatchObject({ reply: undefined });
  });

  it.each([
    '',
    'yes',
    '{"version":2,"session":{"lowest":1,"highest":1,"encrypted":true}}',
    '{"version":1,"session":{"lowest":1,"highest":1,"encrypted":1}}',
    `{"version":1,"session":{"lowest":1,"highest":1,"encrypted":true},"x":"${'x'.repeat(MAX_ANNOUNCEMENT_BYTES)}"}`,
  ])('the announcement %.40j announces nothing', async (text) => {
    await start();
    const device = await attach(text);
    expect(await negotiate(device, 'version=1; encrypted=1')).toEqual(RAW);
  });

  it('an announcement while attached replaces the former one wholly', async () => {
    await start();
    const device = await attach();
    await device.announce(formatAnnouncement(ABILITY));
    const yes = { offer: OFFERED, reply: 'version=1; encrypted=1' };
    expect(await negotiate(device, yes.reply)).toMatchObject(yes);
    await device.announce(formatAnnouncement({}));
    expect(await negotiate(device, yes.reply)).toEqual(RAW);
    await device.announce(formatAnnouncement(ABILITY));
    expect(await negotiate(device, yes.reply)).toMatchObject(yes);
    // A malformed one replaces it too.
    await device.announce('{');
    expect(await negotiate(device, yes.reply)).toEqual(RAW);
    for (let times = 0; times < 20; times++) await device.announce(formatAnnouncement({}));
    await device.announce(formatAnnouncement(ABILITY));
    expect(await negotiate(device, yes.reply)).toMatchObject(yes);
    await device.announce(' '.repeat(MAX_ANNOUNCEMENT_BYTES + 1));
    expect(await negotiate(device, yes.reply)).toEqual(RAW);
  });

  it('an announcement between offer and answer changes nothing for that offer', async () => {
    await start();
    const device = await attach(formatAnnouncement(ABILITY));
    const reply = ask(ASK);
    const offer = await device.nextOffer();
    await device.announce(formatAnnouncement({}));
    device.accept(offer, 'version=1; encrypted=1');
    expect((await reply).headers[STREAM_HEADERS.session]).toBe('version=1; encrypted=1');
  });
});

describe('over MQTT 3.1.1', () => {
  it('nothing is sent, and nothing that is published announces anything', async () => {
    await start({ idleMs: 90_000 });
    const device = await mqtt(4)();
    await device.announce(formatAnnouncement(ABILITY));
    expect(await negotiate(device, undefined)).toEqual(RAW);
  });
});

it('a malformed header is refused before the device is asked', async () => {
  await start();
  await mqtt(5)(formatAnnouncement(ABILITY));
  for (const text of ['', 'yes', `${ASK[STREAM_HEADERS.session]}, ${ASK[STREAM_HEADERS.session]}`]) {
    expect(azureError(await ask({ [STREAM_HEADERS.session]: text }))).toEqual([400, 400004]);
  }
  expect(test.events.filter(({ type }) => type === 'stream-requested')).toEqual([]);
});

/** A device by the SDK that serves sessions, or raw streams only. */
async function attachClient(options: { announcement?: Announcement; serves?: boolean } = {}) {
  const offers: StreamOffer[] = [];
  const { announcement, serves = announcement !== undefined } = options;
  const device = DeviceClient.fromConnectionString(await test.createDevice('d'), {
    outbound: test.outbound,
    clock,
    keepaliveSeconds: 1_800,
    // These programs answer for sessions themselves.
    session: false,
    ...(announcement === undefined ? {} : { announcement }),
    onStream: async (offer) => {
      offers.push(offer);
      const session = serves && offer.session !== undefined ? { version: 1, encrypted: false } : undefined;
      const stream = await offer.accept({ session });
      stream.on('error', () => undefined).pipe(stream);
    },
  });
  cleanups.push(() => device.close());
  await device.open();
  return { device, offers };
}

async function openSession(
  over: Partial<typeof asked> = {},
  by: ServiceClient = test.owner,
): Promise<OpenedSessionStream> {
  const opened = await by.openSessionStream('d', { name: 'ssh', session: { ...asked, ...over } });
  opened.stream.on('error', () => undefined);
  cleanups.push(() => opened.stream.destroy());
  await test.event('stream-established', ({ streamId }) => streamId === opened.streamId);
  return opened;
}

describe('the SDKs', () => {
  it('agree on a session, and the stream between them works', async () => {
    await start({ idleMs: 90_000 });
    const { offers } = await attachClient({ announcement: ABILITY });
    const { stream, session, idleMs, streamId } = await openSession();
    expect({ session, idleMs }).toEqual({ session: { version: 1, encrypted: false }, idleMs: 90_000 });
    expect(streamId).toBe(offers[0]?.streamId);
    expect(offers[0]).toMatchObject({ session: asked, services: '*', idleMs: 90_000, caller: 'policy:iothubowner' });
    stream.write('there and back');
    expect(String((await once(stream, 'data'))[0])).toBe('there and back');
  });

  it('a new service with an old device, an old service with a new device: raw', async () => {
    await start({ idleMs: 90_000 });
    const { device, offers } = await attachClient();
    const { stream, session, idleMs } = await openSession();
    expect({ session, idleMs }).toEqual({ session: undefined, idleMs: undefined });
    stream.write('raw');
    expect(String((await once(stream, 'data'))[0])).toBe('raw');
    expect(offers[0]).toMatchObject({ session: undefined, services: undefined, idleMs: undefined });
    device.announce(ABILITY);
    const old = await test.owner.openStream('d', { name: 'ssh', raw: true });
    cleanups.push(() => old.destroy());
    expect(offers[1]).toMatchObject({ session: undefined, services: undefined, idleMs: undefined });
  });

  it('announce again while attached, and after a reconnect', async () => {
    await start();
    const { device } = await attachClient({ serves: true });
    const agreed = async () => (await openSession()).session;
    expect(await agreed()).toBeUndefined();
    device.announce(ABILITY);
    await expect.poll(agreed).toEqual({ version: 1, encrypted: false });
    await device.close();
    await device.open();
    expect(await agreed()).toEqual({ version: 1, encrypted: false });
    device.announce(undefined);
    await expect.poll(agreed).toBeUndefined();
  });
});

describe('a service that gets a raw stream although it asked for a session', () => {
  async function reply(announced: Announcement | undefined, headers: Record<string, string> = ASK) {
    await start();
    const device = await mqtt(5)(announced === undefined ? undefined : formatAnnouncement(announced));
    const answer = ask(headers);
    device.accept(await device.nextOffer());
    return (await answer).headers;
  }

  it.each<[string, Announcement | undefined, NoSession]>([
    ['announced nothing', undefined, { why: 'not_announced' }],
    [
      'knows other versions',
      { session: { lowest: 3, highest: 4, encrypted: false } },
      { why: 'versions', lowest: 3, highest: 4 },
    ],
    ['answers without one', ABILITY, { why: 'declined' }],
  ])('is told that the device %s', async (_, announced, reason) => {
    const told = await reply(announced);
    expect(told[STREAM_HEADERS.session]).toBeUndefined();
    expect(readNoSession(told[STREAM_HEADERS.noSession])).toEqual(reason);
  });

  it('is told nothing if it did not ask', async () => {
    expect(await reply(ABILITY, {})).not.toHaveProperty(STREAM_HEADERS.noSession);
  });
});

describe('a session whose link was lost', () => {
  it('is not refused because of the old link, while another session is', async () => {
    await start({ streamsPerDevice: 1 });
    await attachClient({ announcement: ABILITY });
    await openSession();
    const second = await openSession();
    expect(second.session).toBeDefined();
    const another = openSession({ id: 'cd'.repeat(16) });
    await expect(another).rejects.toMatchObject({ code: 'too_many_requests' });
    const raw = test.owner.openStream('d', { name: 'ssh', raw: true });
    await expect(raw).rejects.toMatchObject({ code: 'too_many_requests' });
    // The same id by another caller is another session.
    const other = ServiceClient.fromConnectionString(await test.policy('service'), { outbound: test.outbound });
    cleanups.push(() => other.close());
    await expect(openSession({}, other)).rejects.toMatchObject({ code: 'too_many_requests' });
  });

  it('takes the place of its old link in a full hub, which ends', async () => {
    await start({ streams: 1 });
    await attachClient({ announcement: ABILITY });
    const first = await openSession();
    const lost = once(first.stream, 'error');
    const second = await openSession();
    expect(await lost).toMatchObject([{ code: 'stream_lost' }]);
    const { record } = await test.event('stream-ended');
    expect(record).toMatchObject({ streamId: first.streamId, cause: 'taken_over', sessionId: ID });
    second.stream.write('still here');
    expect(String((await once(second.stream, 'data'))[0])).toBe('still here');
  });

  it('has two streams at most: the third ends the first', async () => {
    await start();
    await attachClient({ announcement: ABILITY });
    const [first, second] = [await openSession(), await openSession()];
    await openSession();
    await test.event('stream-ended', ({ record }) => record.streamId === first.streamId);
    expect(await test.owner.streams.get(second.streamId ?? '')).toMatchObject({ state: 'established' });
  });

  it('frees the device’s place when its last stream ends', async () => {
    await start({ streamsPerDevice: 1 });
    await attachClient({ announcement: ABILITY });
    const streams = [await openSession(), await openSession()];
    for (const { stream } of streams) stream.destroy();
    for (const { streamId } of streams) await test.event('stream-ended', ({ record }) => record.streamId === streamId);
    expect((await openSession({ id: 'cd'.repeat(16) })).session).toBeDefined();
  });
});

describe('a session that an administrator closed', () => {
  it('ends with all its streams, and is not taken up again', async () => {
    await start();
    await attachClient({ announcement: ABILITY });
    const streams = [await openSession(), await openSession()];
    const ends = Promise.all(streams.map(({ stream }) => once(stream.resume(), 'error')));
    await test.owner.streams.close(streams[0]?.streamId ?? '', 'lunch');
    for (const [error] of await ends) expect(error).toMatchObject({ code: 'closed_by_administrator' });
    await expect(openSession()).rejects.toMatchObject({ code: 'closed_by_administrator' });
    expect((await ask(ASK)).status).toBe(403);
    expect((await openSession({ id: 'cd'.repeat(16) })).session).toBeDefined();
  });

  it('a raw stream that is closed closes nothing else', async () => {
    await start();
    await attachClient();
    const raw = await test.owner.openStream('d', { name: 'ssh', raw: true });
    raw.on('error', () => undefined);
    cleanups.push(() => raw.destroy());
    const { streamId } = await test.event('stream-established');
    await test.owner.streams.close(streamId);
    const again = await test.owner.openStream('d', { name: 'ssh', raw: true });
    cleanups.push(() => again.destroy());
  });
});

describe('lifetime and bytes', () => {
  it('are counted over all streams of a session', async () => {
    await start({ lifetimeMs: 10_000 });
    await attachClient({ announcement: ABILITY });
    const first = await openSession();
    await clock.advance(6_000);
    first.stream.destroy();
    await test.event('stream-ended');
    await clock.advance(2_000);
    const second = await openSession();
    const raw = await test.owner.openStream('d', { name: 'ssh', raw: true });
    cleanups.push(() => raw.destroy());
    const ended = once(second.stream.resume(), 'error');
    await clock.advance(3_000);
    expect(await ended).toMatchObject([{ code: 'lifetime_ended' }]);
    await expect(openSession()).rejects.toMatchObject({ code: 'lifetime_ended' });
    expect((await openSession({ id: 'cd'.repeat(16) })).session).toBeDefined();
  });

  it('bytes that were moved before the link was lost count too', async () => {
    await start({ bytesPerStream: 1_000 });
    await attachClient({ announcement: ABILITY });
    const send = async ({ stream }: OpenedSessionStream) => {
      stream.write(Buffer.alloc(300));
      await once(stream, 'data');
    };
    const first = await openSession();
    await send(first);
    first.stream.destroy();
    await test.event('stream-ended');
    const second = await openSession();
    const ended = once(second.stream, 'error');
    await send(second);
    await clock.advance(1_000);
    expect(await ended).toMatchObject([{ code: 'quota_reached' }]);
    await expect(openSession()).rejects.toMatchObject({ code: 'quota_reached' });
  });
});

it('is in the audit log and the resource log of its streams', async () => {
  await start();
  const device = await mqtt(5)(formatAnnouncement(ABILITY));
  const opening = test.owner.openSessionStream('d', { name: 'ssh', session: asked });
  const offer = await device.nextOffer();
  device.accept(offer, 'version=1; encrypted=1');
  const end = await dialStream(offer.grant, { outbound: test.outbound });
  const { stream } = await opening;
  await test.event('stream-established');
  stream.on('error', () => undefined).destroy();
  end.on('error', () => undefined).destroy();
  const { record } = await test.event('stream-ended');
  expect(record).toMatchObject({ sessionId: ID, session: { version: 1, encrypted: true } });
  const logged = [];
  for await (const entry of test.owner.logs.list({ stream: record.streamId }))
    logged.push(JSON.parse(entry.properties));
  expect(logged).toHaveLength(2);
  for (const properties of logged)
    expect(properties).toMatchObject({ sessionId: ID, sessionVersion: 1, sessionEncrypted: true });
  const audited = [];
  for await (const entry of test.owner.audit.list({ device: 'd' }))
    if ('stream' in entry) audited.push(entry['stream']);
  expect(audited).toHaveLength(2);
  for (const of of audited) expect(of).toMatchObject({ sessionId: ID, session: { version: 1, encrypted: true } });
});
