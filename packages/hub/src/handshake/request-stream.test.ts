import { CulvertError, type Offer, parseHandshakeTimes } from '@culvert/protocol';
import { newGrantKeys, verifyGrant } from '@culvert/protocol/grant';
import { FakeClock } from '@culvert/testkit';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Principal } from '../auth/principal.ts';
import type { Answer, ControlChannel } from '../control/control-channel.ts';
import { Router } from '../control/router.ts';
import { UnansweredOffers } from '../control/unanswered-offers.ts';
import type { HubEvent } from '../observe/events.ts';
import type { KnownSession } from '../observe/known-sessions.ts';
import type { IdentityRecord } from '../registry/registry.ts';
import { ClosedSessions } from './closed-sessions.ts';
import { GrantIssuer } from './grant-issuer.ts';
import { type HandshakeDeps, requestStream, type StreamRequest } from './request-stream.ts';
import { revokeOnChange } from './revoke.ts';
import { SessionAdmission } from './session-admission.ts';
import { StreamTable } from './stream-table.ts';

const service: Principal = {
  name: 'policy:service',
  permissions: new Set(['ServiceConnect']),
  identity: undefined,
  proof: { kind: 'key', owner: { kind: 'policy', policy: 'service' }, keyDigest: '00' },
  expiresAt: Number.MAX_SAFE_INTEGER,
};

const record: IdentityRecord = {
  deviceId: 'd',
  generationId: 'g',
  etag: '1',
  status: 'enabled',
  statusReason: null,
  statusUpdatedAt: 0,
  createdAt: 0,
  updatedAt: 0,
  authentication: { type: 'sas', primaryKey: '', secondaryKey: '' },
  managedBy: null,
  iotEdge: false,
  sshHostKeys: [],
};

/** A channel whose device gives the answer that was passed to the constructor. */
class FakeChannel implements ControlChannel {
  readonly identity = { deviceId: 'd' };
  readonly principal: Principal = { ...service, name: 'device:d', identity: { deviceId: 'd' } };
  readonly protocol = 'mqtt';
  readonly remoteAddress = '127.0.0.1';
  readonly connectedAt = 0;
  readonly unanswered = new UnansweredOffers(new FakeClock());
  takesOffers = true;
  readonly offers: Offer[] = [];
  #end: (error: CulvertError) => void = () => undefined;
  readonly closed = new Promise<CulvertError>((resolve) => {
    this.#end = resolve;
  });
  readonly #answer: Answer | undefined;

  constructor(answer?: Answer) {
    this.#answer = answer;
  }

  offer(offer: Offer, signal: AbortSignal): Promise<Answer> {
    this.offers.push(offer);
    if (this.#answer !== undefined) return Promise.resolve(this.#answer);
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      void this.closed.then(() => reject(new CulvertError('device_gone')));
    });
  }

  close(error: CulvertError): void {
    this.#end(error);
  }
}

let clock: FakeClock;
let router: Router;
let streams: StreamTable;
let events: HubEvent[];
let ended: [string, string][];
let unpaired: [string, string][];
let deps: HandshakeDeps;
let device: IdentityRecord | undefined;
let closed: ClosedSessions;
let known: KnownSession | undefined;
let sessionLimits: { idleMs: number; lifetimeMs: number; bytesPerStream: number };

beforeEach(() => {
  clock = new FakeClock();
  router = new Router(clock);
  events = [];
  ended = [];
  unpaired = [];
  closed = new ClosedSessions(() => clock.now());
  known = undefined;
  sessionLimits = { idleMs: 0, lifetimeMs: 0, bytesPerStream: 0 };
  device = record;
  streams = new StreamTable({ clock, onUnpaired: ({ streamId }, { code }) => unpaired.push([streamId, code]) });
  deps = {
    registry: { get: () => Promise.resolve(device) },
    router,
    admitTo: () => undefined,
    isFull: () => false,
    sessions: new SessionAdmission({
      limits: sessionLimits,
      closed,
      known: { get: () => known },
      now: () => clock.now(),
    }),
    // Signing takes real time, for which a fake clock does not wait; only the first test signs.
    grants: {
      issue: (streamId, side) => Promise.resolve({ url: `wss://hub.example:443/${streamId}/${side}`, token: 't' }),
    },
    streams,
    endAtGateway: (streamId, error) => ended.push([streamId, error.code]),
    draining: new AbortController().signal,
    clock,
    onEvent: (event) => events.push(event),
  };
});

function request(over: Partial<StreamRequest> = {}): StreamRequest {
  return {
    identity: { deviceId: 'd' },
    streamName: 'ssh',
    principal: service,
    remoteAddress: '192.0.2.1',
    times: parseHandshakeTimes('10', '20'),
    signal: new AbortController().signal,
    ...over,
  };
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: CulvertError) => error.code,
  );

describe('a request for a stream', () => {
  it('gives each side a grant of its own that dies 60 s after the request', async () => {
    const keys = await newGrantKeys();
    const authority = () => ({ host: 'hub.example', port: 443 });
    const grants = new GrantIssuer({ key: keys.privateKey, bootId: 'boot', authority });
    const channel = new FakeChannel({ accepted: true });
    router.attach(channel);
    const requestedAt = clock.now();
    const reply = await requestStream(request(), { ...deps, grants });
    if (!reply.accepted) throw new Error('rejected');
    const verify = (token: string) => verifyGrant(token, { key: keys.publicKey, audience: 'boot', now: clock.now() });
    const expected = { streamId: reply.streamId, audience: 'boot', expiresAt: requestedAt + 60_000 };
    expect(await verify(reply.grant.token)).toEqual({ ...expected, side: 'service' });
    expect(await verify(channel.offers[0]?.grant.token ?? '')).toEqual({ ...expected, side: 'device' });
    expect(reply.grant.url).toBe(`wss://hub.example:443/bridges/${reply.streamId}/service`);
    expect(streams.size).toBe(1);
    expect(ended).toEqual([]);
  });

  it('frees the rendezvous at once when the device rejects', async () => {
    router.attach(new FakeChannel({ accepted: false, reason: 'busy' }));
    const reply = await requestStream(request(), deps);
    expect(reply).toMatchObject({ accepted: false, reason: 'busy' });
    expect(ended).toEqual([[reply.streamId, 'rejected']]);
    expect([streams.size, clock.timers]).toEqual([0, 0]);
  });

  it('waits for an offline device for the connect timeout and no longer', async () => {
    const outcome = codeOf(requestStream(request(), deps));
    await clock.advance(0);
    await clock.advance(9_999);
    expect(events.some((event) => event.type === 'stream-failed')).toBe(false);
    await clock.advance(1);
    expect(await outcome).toBe('device_offline');
    expect([streams.size, clock.timers]).toEqual([0, 0]);
  });

  it('offers to a device that comes while it waits', async () => {
    const outcome = requestStream(request(), deps);
    await clock.advance(0);
    await clock.advance(5_000);
    const channel = new FakeChannel({ accepted: true });
    channel.takesOffers = false;
    router.attach(channel);
    await clock.advance(1_000);
    channel.takesOffers = true;
    router.offersChanged(channel);
    expect(await outcome).toMatchObject({ accepted: true });
  });

  it('gives a silent device connect and response time together', async () => {
    router.attach(new FakeChannel());
    const outcome = codeOf(requestStream(request(), deps));
    await clock.advance(0);
    await clock.advance(29_999);
    expect(events.some((event) => event.type === 'stream-failed')).toBe(false);
    await clock.advance(1);
    expect(await outcome).toBe('device_silent');
    expect(ended.map(([, code]) => code)).toEqual(['device_silent']);
  });

  it('never takes longer than 60 s', async () => {
    router.attach(new FakeChannel());
    const outcome = codeOf(requestStream(request({ times: parseHandshakeTimes(undefined, undefined) }), deps));
    await clock.advance(0);
    await clock.advance(60_000);
    expect(await outcome).toBe('device_silent');
  });

  it('fails at once when the device disconnects while it is asked', async () => {
    const channel = new FakeChannel();
    router.attach(channel);
    const outcome = codeOf(requestStream(request(), deps));
    await clock.advance(0);
    channel.close(new CulvertError('device_gone'));
    expect(await outcome).toBe('device_gone');
  });

  it('withdraws the offer when the caller goes away', async () => {
    router.attach(new FakeChannel());
    const caller = new AbortController();
    const outcome = codeOf(requestStream(request({ signal: caller.signal }), deps));
    await clock.advance(0);
    caller.abort(new CulvertError('withdrawn'));
    expect(await outcome).toBe('withdrawn');
    expect(ended.map(([, code]) => code)).toEqual(['withdrawn']);
    expect([streams.size, clock.timers]).toEqual([0, 0]);
  });

  it('is refused for a device that is unknown or disabled', async () => {
    device = undefined;
    expect(await codeOf(requestStream(request(), deps))).toBe('device_not_found');
    device = { ...record, status: 'disabled' };
    expect(await codeOf(requestStream(request(), deps))).toBe('device_disabled');
  });

  it('is refused while the hub drains, also when it already waits', async () => {
    const draining = new AbortController();
    const outcome = codeOf(requestStream(request(), { ...deps, draining: draining.signal }));
    await clock.advance(0);
    draining.abort(new CulvertError('draining'));
    expect(await outcome).toBe('draining');
    expect(await codeOf(requestStream(request(), { ...deps, draining: draining.signal }))).toBe('draining');
  });

  it('forgets a stream whose sides never both connected when its grants die, and keeps one that was joined', async () => {
    router.attach(new FakeChannel({ accepted: true }));
    const first = await requestStream(request(), deps);
    const second = await requestStream(request(), deps);
    streams.observe({
      type: 'stream-established',
      streamId: second.streamId,
      deviceAddress: '127.0.0.1',
      serviceAddress: '127.0.0.1',
    });
    await clock.advance(60_000);
    expect(streams.answered(first.streamId, service)).toBe(false);
    expect(streams.answered(second.streamId, service)).toBe(true);
    expect(clock.timers).toBe(0);
  });

  it('that is ended between the answer and the sides’ coming is told of, since neither handshake nor gateway does', async () => {
    router.attach(new FakeChannel({ accepted: true }));
    const [one, two, three] = [
      await requestStream(request(), deps),
      await requestStream(request(), deps),
      await requestStream(request(), deps),
    ];
    expect(streams.ofDevice('d')).toBe(3);
    const error = new CulvertError('closed_by_administrator');
    expect(streams.end(one.streamId, error, () => false)).toBe(true);
    // This stream ended at the gateway, which reports it.
    expect(streams.end(two.streamId, error, () => true)).toBe(true);
    expect(streams.end(two.streamId, error, () => true)).toBe(false);
    expect(unpaired).toEqual([[one.streamId, 'closed_by_administrator']]);
    streams.clear();
    expect(unpaired.slice(1)).toEqual([[three.streamId, 'draining']]);
    expect([streams.ofDevice('d'), streams.mostOfOneDevice, clock.timers]).toEqual([0, 0, 0]);
  });

  it('that is refused for a limit of its device leaves nothing behind', async () => {
    const full = new CulvertError('too_many_requests');
    const admitTo = () => {
      throw full;
    };
    expect(await codeOf(requestStream(request(), { ...deps, admitTo }))).toBe('too_many_requests');
    expect([ended, unpaired, streams.size, clock.timers]).toEqual([[], [], 0, 0]);
    expect(events.map(({ type }) => type)).toEqual(['stream-requested', 'stream-failed']);
  });

  it('is told at once that the device was disabled while it waited for it', async () => {
    const revocation = revokeOnChange(deps);
    const outcome = codeOf(requestStream(request(), deps));
    await clock.advance(0);
    revocation.identityChanged({ deviceId: 'd' }, { ...record, status: 'disabled' });
    expect(await outcome).toBe('revoked');
    expect([streams.size, clock.timers]).toEqual([0, 0]);
  });

  it('is told at once that its own key was removed, and the device is free again', async () => {
    const revocation = revokeOnChange(deps);
    const channel = new FakeChannel();
    router.attach(channel);
    const outcome = codeOf(requestStream(request(), deps));
    await clock.advance(0);
    expect(channel.offers.length).toBe(1);
    revocation.policyChanged({ name: 'service', permissions: [], primaryKey: '', secondaryKey: '' });
    expect(await outcome).toBe('revoked');
    expect(ended.map(([, code]) => code)).toContain('revoked');
  });

  it('ends even when its key is removed before anything else is known of it', async () => {
    const revocation = revokeOnChange(deps);
    const channel = new FakeChannel({ accepted: true });
    router.attach(channel);
    let look = (_found: IdentityRecord) => {};
    const looked = new Promise<IdentityRecord>((resolve) => {
      look = resolve;
    });
    const outcome = codeOf(requestStream(request(), { ...deps, registry: { get: () => looked } }));
    revocation.policyChanged({ name: 'service', permissions: [], primaryKey: '', secondaryKey: '' });
    look(record);
    expect(await outcome).toBe('revoked');
    expect(channel.offers.length).toBe(0);
  });
});
