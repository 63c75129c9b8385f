import { once } from 'node:events';
import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { DeviceClient, type StreamOffer } from '@culvert/device';
import {
  CLOSE_CAUSES,
  type CloseCause,
  type CulvertError,
  type ErrorCode,
  errorFromClose,
  LIMITS,
  parseServiceConnectionString,
  STREAM_HEADERS,
  signSasToken,
} from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { FakeClock, RawWebSocket, rawFrame, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, expect, it } from 'vitest';
import type { HubConfigInput } from '../src/config/config.ts';
import { FAILING_GATEWAY_THREAD, failGatewayThread } from './failing-gateway-thread.fixture.ts';

/** The result that one end receives: the code and message of its error, or that the stream ended cleanly. */
type EndResult = readonly [code: ErrorCode, message: string] | 'clean';

/** The results of both ends. The result of the end that ended or lost the stream itself is absent. */
interface Outcome {
  readonly service?: EndResult;
  readonly device?: EndResult;
}

let test: TestHub;
let clock: FakeClock;
/** Resolves with the next offer, which the test answers. */
let offers: Promise<StreamOffer>;
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Starts a hub and a device, which announces sessions but leaves them to the test: `offers` is passed every offer. */
async function start(limits: Record<string, number> = {}, over: Partial<HubConfigInput> = {}): Promise<void> {
  clock = new FakeClock(Date.now());
  const started = await startHub({ clock, config: { limits, ...over }, gatewayEntry: FAILING_GATEWAY_THREAD });
  test = started;
  cleanups.push(() => started.stop());
  let offered: (offer: StreamOffer) => void = () => undefined;
  offers = new Promise((resolve) => {
    offered = resolve;
  });
  const device = DeviceClient.fromConnectionString(await test.createDevice('d'), {
    outbound: test.outbound,
    session: false,
    announcement: { session: { lowest: 1, highest: 1, encrypted: false } },
    // The promise stays pending, because the device client would reject an unanswered offer when the callback returns.
    onStream: (offer) => new Promise<void>(() => offered(offer)),
  });
  cleanups.push(() => device.close());
  await device.open();
}

/** Opens a stream and returns both of its ends. */
async function openPair(): Promise<{ service: Duplex; device: Duplex; streamId: string }> {
  const [service, device] = await Promise.all([
    test.owner.openStream('d', { name: 'x' }),
    offers.then((offer) => offer.accept()),
  ]);
  cleanups.push(
    () => service.destroy(),
    () => device.destroy(),
  );
  const { streamId } = await test.event('stream-established');
  return { service, device, streamId };
}

/** Reads a stream to its end and returns the result. */
function resultOf(stream: Duplex): Promise<EndResult> {
  return new Promise((resolve) => {
    stream.on('error', (error) => resolve(failure(error)));
    stream.on('end', () => resolve('clean')).resume();
  });
}

const failure = (error: unknown): EndResult => [(error as CulvertError).code, (error as CulvertError).message];

/** Returns the result of an attempt that is expected to fail. */
function refused(attempt: Promise<unknown>): Promise<EndResult> {
  return attempt.then(() => 'clean' as const, failure);
}

/** Opens a stream, ends it with `end`, and returns the results of both ends. */
async function both(end: (streamId: string) => unknown): Promise<Outcome> {
  const { service, device, streamId } = await openPair();
  const ends = Promise.all([resultOf(service), resultOf(device)]);
  await end(streamId);
  const [ofService, ofDevice] = await ends;
  return { service: ofService, device: ofDevice };
}

async function whileAdvancing<T>(promise: Promise<T>, stepMs: number): Promise<T> {
  let settled = false;
  void promise.finally(() => {
    settled = true;
  });
  while (!settled) await clock.advance(stepMs);
  return promise;
}

/** Requests a stream with a plain HTTP client, and returns the grant without connecting to the gateway. */
async function grant(): Promise<Grant> {
  const { key, policy } = parseServiceConnectionString(await test.policy('service'));
  const expiry = Math.floor(clock.now() / 1_000) + 600;
  const authorization = await signSasToken({ audience: `127.0.0.1:${test.port}`, key, policy, expiry });
  const path = '/twins/d/streams/x';
  const options = { host: '127.0.0.1', port: test.port, ca: test.ca, method: 'POST', path, headers: { authorization } };
  const [response] = await once(httpsRequest(options).end(), 'response');
  response.resume();
  return { url: response.headers[STREAM_HEADERS.url], token: response.headers[STREAM_HEADERS.token] };
}

/** All causes except `hub_died`, which no process can report to the ends. tests/system/hub-killed.test.ts tests what the next hub records. */
type ReportedCause = Exclude<CloseCause, 'hub_died'>;

/** For each cause, a function that makes it happen and returns the results of the ends. */
const MAKE: Readonly<Record<ReportedCause, () => Promise<Outcome>>> = {
  async ended_by_service() {
    await start();
    const { service, device } = await openPair();
    service.resume().end();
    const ofDevice = await resultOf(device);
    device.end();
    return { device: ofDevice };
  },
  async ended_by_device() {
    await start();
    const { service, device } = await openPair();
    device.resume().end();
    const ofService = await resultOf(service);
    service.end();
    return { service: ofService };
  },
  async lost_by_service() {
    await start();
    const accepted = offers.then((offer) => offer.accept());
    const service = await test.owner.openWebSocket('d', { name: 'x' });
    await test.event('stream-established');
    service.terminate();
    return { device: await resultOf(await accepted) };
  },
  async lost_by_device() {
    await start();
    const accepted = offers.then((offer) => offer.acceptWebSocket());
    const service = await test.owner.openStream('d', { name: 'x' });
    await test.event('stream-established');
    (await accepted).terminate();
    return { service: await resultOf(service) };
  },
  async protocol_error() {
    await start();
    const [asked, device] = await Promise.all([grant(), offers.then((offer) => offer.accept())]);
    const service = await RawWebSocket.open(asked, { ca: test.ca });
    cleanups.push(() => service.socket.destroy());
    const ofDevice = resultOf(device);
    service.send(rawFrame(3, 'x'));
    const close = await service.close();
    const ofService = errorFromClose(close?.code ?? 1006, close?.reason ?? '');
    return { service: ofService === undefined ? 'clean' : failure(ofService), device: await ofDevice };
  },
  async stalled() {
    await start({ stallMs: 1_000 });
    const { device } = await openPair();
    // This is more data than all buffers on the way hold, and the service does not read.
    device.write(Buffer.alloc(48 * 1_048_576));
    return { device: await whileAdvancing(resultOf(device), 250) };
  },
  async half_close_timeout() {
    await start();
    const { service, device } = await openPair();
    const ends = Promise.all([resultOf(service), once(device.resume(), 'error').then(([error]) => failure(error))]);
    service.end();
    await once(device, 'end');
    await clock.advance(LIMITS.halfCloseMs);
    const [ofService, ofDevice] = await ends;
    return { service: ofService, device: ofDevice };
  },
  async idle() {
    await start({ idleMs: 1_000 });
    return both(() => clock.advance(1_000));
  },
  async lifetime_ended() {
    await start({ lifetimeMs: 1_000 });
    return both(() => clock.advance(1_000));
  },
  async quota_reached() {
    await start({ bytesPerStream: 3 });
    const { service, device } = await openPair();
    const ends = Promise.all([resultOf(service), resultOf(device)]);
    service.write('abc');
    await once(device, 'data');
    await clock.advance(1_000);
    const [ofService, ofDevice] = await ends;
    return { service: ofService, device: ofDevice };
  },
  async closed_by_administrator() {
    await start();
    return both((streamId) => test.owner.streams.close(streamId, 'lunch'));
  },
  async taken_over() {
    await start();
    const leaving = new AbortController();
    cleanups.push(() => leaving.abort());
    const session = { id: 'ab'.repeat(16), lowest: 1, highest: 1, encrypted: false };
    const options = { name: 'x', session, signal: leaving.signal };
    const [{ stream }, device] = await Promise.all([
      test.owner.openSessionStream('d', options),
      offers.then((offer) => offer.accept({ session: { version: 1, encrypted: false } })),
    ]);
    await test.event('stream-established');
    const ends = Promise.all([resultOf(stream), resultOf(device)]);
    for (let newer = 0; newer < 2; newer++) test.owner.openSessionStream('d', options).catch(() => undefined);
    const [ofService, ofDevice] = await ends;
    return { service: ofService, device: ofDevice };
  },
  async revoked() {
    await start();
    return both(() => test.owner.devices.update({ deviceId: 'd', status: 'disabled' }));
  },
  async shutting_down() {
    await start();
    return both(() => {
      void test.hub.stop(0);
      return clock.advance(0);
    });
  },
  async gateway_failed() {
    await start({}, { gatewayThreads: 1, gatewayListen: '127.0.0.1:0' });
    return both(() => failGatewayThread());
  },
  async rejected() {
    await start();
    const service = refused(test.owner.openStream('d', { name: 'x' }));
    await (await offers).reject('only ssh here');
    return { service: await service };
  },
  async withdrawn() {
    await start();
    const leaving = new AbortController();
    const service = refused(test.owner.openStream('d', { name: 'x', signal: leaving.signal }));
    const offer = await offers;
    leaving.abort();
    await test.event('stream-ended');
    return { service: await service, device: await refused(offer.accept()) };
  },
  async device_offline() {
    await start();
    await test.createDevice('away');
    return { service: await refused(test.owner.openStream('away', { name: 'x', connectTimeoutMs: 0 })) };
  },
  async device_silent() {
    await start();
    const options = { name: 'x', connectTimeoutMs: 0, responseTimeoutMs: 1_000 };
    const service = refused(test.owner.openStream('d', options));
    const offer = await offers;
    await clock.advance(1_000);
    return { service: await service, device: await refused(offer.accept()) };
  },
  async handshake_timeout() {
    await start();
    const [, device] = await Promise.all([grant(), offers.then((offer) => offer.accept())]);
    await test.event('connection-waiting');
    const ofDevice = resultOf(device);
    await clock.advance(60_000);
    return { device: await ofDevice };
  },
  async refused() {
    await start({ newStreamsPerSecondPerDevice: 1 });
    await refused(test.owner.openStream('nobody', { name: 'x' }));
    return { service: await refused(test.owner.openStream('nobody', { name: 'x' })) };
  },
};

const LOST = 'The connection at the other side was lost.';
const TORN = 'The connection was lost.';
const ADMINISTRATOR = 'An administrator closed the stream: lunch';
const HALF_CLOSE = 'The service had ended, and the device sent nothing for 60 s.';
const IDLE = 'Nothing was sent for as long as a stream may be idle.';
const LIFETIME = 'The stream had lived as long as it may.';
const QUOTA = 'The stream has carried as much as it may.';
const DISABLED = 'The device was disabled.';
const STOPS = 'The hub is shutting down; try again.';
const SILENT = 'Timed out waiting for the response from device.';
const LATE = 'The other side did not come in time.';
const FULL = 'The device takes no more new streams in this second.';

/** For each cause, the expected result of each end, and the error and message of the log entry. */
const TABLE: Readonly<Record<ReportedCause, Outcome & { readonly log: readonly [ErrorCode | undefined, string] }>> = {
  ended_by_service: { device: 'clean', log: [undefined, CLOSE_CAUSES.ended_by_service] },
  ended_by_device: { service: 'clean', log: [undefined, CLOSE_CAUSES.ended_by_device] },
  lost_by_service: { device: ['stream_lost', LOST], log: ['stream_lost', CLOSE_CAUSES.lost_by_service] },
  lost_by_device: { service: ['stream_lost', LOST], log: ['stream_lost', CLOSE_CAUSES.lost_by_device] },
  protocol_error: {
    service: ['protocol_error', 'The client sent a reserved opcode.'],
    device: ['stream_lost', 'The other side broke the protocol.'],
    log: ['protocol_error', 'The client sent a reserved opcode.'],
  },
  stalled: {
    device: ['stalled', 'No progress was made for too long.'],
    log: ['stalled', 'No progress was made for too long.'],
  },
  half_close_timeout: {
    service: ['half_close_timeout', HALF_CLOSE],
    device: ['stream_lost', 'The connection was lost before this side had ended.'],
    log: ['half_close_timeout', HALF_CLOSE],
  },
  idle: { service: ['idle_timeout', IDLE], device: ['idle_timeout', IDLE], log: ['idle_timeout', IDLE] },
  lifetime_ended: {
    service: ['lifetime_ended', LIFETIME],
    device: ['lifetime_ended', LIFETIME],
    log: ['lifetime_ended', LIFETIME],
  },
  quota_reached: { service: ['quota_reached', QUOTA], device: ['quota_reached', QUOTA], log: ['quota_reached', QUOTA] },
  closed_by_administrator: {
    service: ['closed_by_administrator', ADMINISTRATOR],
    device: ['closed_by_administrator', ADMINISTRATOR],
    log: ['closed_by_administrator', ADMINISTRATOR],
  },
  taken_over: {
    service: ['stream_lost', CLOSE_CAUSES.taken_over],
    device: ['stream_lost', CLOSE_CAUSES.taken_over],
    log: ['taken_over', CLOSE_CAUSES.taken_over],
  },
  revoked: { service: ['revoked', DISABLED], device: ['revoked', DISABLED], log: ['revoked', DISABLED] },
  shutting_down: { service: ['draining', STOPS], device: ['draining', STOPS], log: ['draining', STOPS] },
  // The hub has only one gateway thread. It has failed, so it cannot send a close frame to the ends.
  gateway_failed: {
    service: ['stream_lost', TORN],
    device: ['stream_lost', TORN],
    log: ['stream_lost', CLOSE_CAUSES.gateway_failed],
  },
  rejected: {
    service: ['rejected', 'The device rejected the stream: only ssh here'],
    log: ['rejected', 'only ssh here'],
  },
  withdrawn: {
    service: ['aborted', 'Cancelled.'],
    device: ['withdrawn', 'The caller went away before the stream was joined.'],
    log: ['withdrawn', 'The caller went away before the stream was joined.'],
  },
  device_offline: {
    service: ['device_offline', "The requested device isn't online."],
    log: ['device_offline', "The requested device isn't online."],
  },
  device_silent: {
    service: ['device_silent', SILENT],
    device: ['device_silent', SILENT],
    log: ['device_silent', SILENT],
  },
  handshake_timeout: { device: ['handshake_timeout', LATE], log: ['handshake_timeout', LATE] },
  refused: { service: ['too_many_requests', FULL], log: ['too_many_requests', FULL] },
};

const REPORTED_CAUSES = (Object.keys(CLOSE_CAUSES) as CloseCause[]).filter((cause) => cause !== 'hub_died');

it.each(REPORTED_CAUSES)('%s: both ends learn what the log says', async (cause) => {
  const outcome = await MAKE[cause]();
  const { log, ...ends } = TABLE[cause];
  const ended = test.event('stream-ended', ({ record }) => record.cause === cause && record.error === log[0]);
  const { record } = await whileAdvancing(ended, 100);
  expect(outcome).toEqual(ends);
  expect([record.error, record.detail]).toEqual(log);
});
