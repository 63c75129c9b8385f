import { CulvertError, type ErrorCode, type Identity } from '@culvert/protocol';
import type { Grant } from '@culvert/protocol/grant';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { FakeClock } from './fake-clock.ts';

/** The part of the hub's `ControlChannel` that is tested. */
export interface ChannelUnderTest {
  readonly identity: Identity;
  readonly takesOffers: boolean;
  readonly unanswered: { readonly now: { readonly since: number; readonly count: number } | undefined };
  offer(
    offer: { streamId: string; streamName: string; grant: Grant; caller: string },
    signal: AbortSignal,
  ): Promise<{ readonly accepted: true } | { readonly accepted: false; readonly reason: string }>;
  close(error: CulvertError): void;
  readonly closed: Promise<CulvertError>;
}

/** The device at the other end of a channel. */
export interface DeviceUnderTest {
  /** Resolves with the next offer that the device receives. */
  nextOffer(): Promise<{ requestId: string; streamName: string; grant: Grant }>;
  answer(answer: { requestId: string; accepted: boolean; reason?: string }): void;
  /** Subscribes to offers; resolves when the hub has processed the subscription. */
  takeOffers(): Promise<void>;
  /** Unsubscribes from offers; resolves when the hub has processed the request. */
  refuseOffers(): Promise<void>;
  /** Resets the connection. */
  drop(): void;
  /** Stops reading from the connection. */
  stall(): void;
  /** Resolves when the connection has ended, with the reason code that the device received; undefined if it received none. */
  readonly told: Promise<string | number | undefined>;
}

/** A listener of one transport that accepts devices. */
export interface TransportUnderTest {
  readonly clock: FakeClock;
  /** Maximum unanswered offers per device; at least 1,000. */
  readonly maxOffers: number;
  /** Returns the reason code that the hub sends to a device when it ends the connection with this error. */
  code(error: ErrorCode): string | number | undefined;
  /** Attaches a device that is subscribed to offers. Its credential is valid until `expiresAt` (default: without limit). */
  attach(options?: { expiresAt?: number }): Promise<{ channel: ChannelUnderTest; device: DeviceUnderTest }>;
  close(): Promise<void>;
}

const offerNamed = (streamName: string) => ({
  streamId: '0123456789abcdef0123456789abcdef',
  streamName,
  caller: 'policy:service',
  // A grant of the maximum length.
  grant: { url: 'wss://hub.example:8443/bridges/0123456789abcdef0123456789abcdef/device', token: 't'.repeat(999) },
});

const never = new AbortController().signal;

/** Defines the tests that a control channel must pass over every transport. */
export function controlChannelConformance(name: string, open: () => Promise<TransportUnderTest>): void {
  describe(`control channel conformance: ${name}`, () => {
    let transport: TransportUnderTest;
    beforeEach(async () => {
      transport = await open();
    });
    afterEach(() => transport.close());

    answers(() => transport);
    ends(() => transport);
    bounds(() => transport);
  });
}

function answers(transport: () => TransportUnderTest): void {
  it('carries an offer to the device and its acceptance back', async () => {
    const { channel, device } = await transport().attach();
    const sent = offerNamed('ssh');
    const answer = channel.offer(sent, never);
    const offer = await device.nextOffer();
    expect(offer).toMatchObject({ streamName: 'ssh', grant: sent.grant });
    device.answer({ requestId: offer.requestId, accepted: true });
    expect(await answer).toEqual({ accepted: true });
  });

  it('carries a rejection with its reason', async () => {
    const { channel, device } = await transport().attach();
    const answer = channel.offer(offerNamed('ssh'), never);
    const { requestId } = await device.nextOffer();
    device.answer({ requestId, accepted: false, reason: 'kein Dienst „ssh“\n' });
    expect(await answer).toEqual({ accepted: false, reason: 'kein Dienst „ssh“\\u000a' });
  });

  it('carries a rejection without a reason', async () => {
    const { channel, device } = await transport().attach();
    const answer = channel.offer(offerNamed('ssh'), never);
    const { requestId } = await device.nextOffer();
    device.answer({ requestId, accepted: false });
    expect(await answer).toEqual({ accepted: false, reason: '' });
  });

  it("ends an offer that is not answered with the signal's reason, and ignores the late answer", async () => {
    const { channel, device } = await transport().attach();
    const patience = new AbortController();
    const silent = channel.offer(offerNamed('first'), patience.signal);
    const { requestId } = await device.nextOffer();
    patience.abort(new CulvertError('device_silent'));
    await expect(silent).rejects.toMatchObject({ code: 'device_silent' });
    device.answer({ requestId, accepted: true });

    const next = channel.offer(offerNamed('second'), never);
    const second = await device.nextOffer();
    expect(second.requestId).not.toBe(requestId);
    device.answer({ requestId: second.requestId, accepted: false, reason: 'no' });
    expect(await next).toEqual({ accepted: false, reason: 'no' });
  });

  it('counts the offers that the device leaves unanswered, until it answers one', async () => {
    const { clock } = transport();
    const { channel, device } = await transport().attach();
    const since = clock.now();
    const ask = async (code: ErrorCode, afterMs: number) => {
      const caller = new AbortController();
      const asked = channel.offer(offerNamed('ssh'), caller.signal);
      const offer = await device.nextOffer();
      await clock.advance(afterMs);
      caller.abort(new CulvertError(code));
      await expect(asked).rejects.toMatchObject({ code });
      return offer;
    };
    // An offer that the caller withdraws within 5 s does not count as unanswered, because the device had too little time to answer.
    await ask('withdrawn', 4_999);
    expect(channel.unanswered.now).toBeUndefined();
    await ask('withdrawn', 5_000);
    await ask('device_silent', 1_000);
    expect(channel.unanswered.now).toEqual({ since: since + 4_999, count: 2 });

    const answered = channel.offer(offerNamed('ssh'), never);
    const { requestId } = await device.nextOffer();
    device.answer({ requestId, accepted: false, reason: 'no' });
    await answered;
    expect(channel.unanswered.now).toBeUndefined();
  });

  it('refuses an offer whose signal is aborted already', async () => {
    const { channel } = await transport().attach();
    const withdrawn = AbortSignal.abort(new CulvertError('withdrawn'));
    await expect(channel.offer(offerNamed('ssh'), withdrawn)).rejects.toMatchObject({ code: 'withdrawn' });
  });

  it('ignores answers to requests that never were, and second answers', async () => {
    const { channel, device } = await transport().attach();
    const answer = channel.offer(offerNamed('ssh'), never);
    const { requestId } = await device.nextOffer();
    device.answer({ requestId: 'nobody', accepted: true });
    device.answer({ requestId: '4711', accepted: false });
    device.answer({ requestId, accepted: true });
    device.answer({ requestId, accepted: false });
    expect(await answer).toEqual({ accepted: true });
    const again = channel.offer(offerNamed('ssh'), never);
    device.answer({ requestId: (await device.nextOffer()).requestId, accepted: true });
    expect(await again).toEqual({ accepted: true });
  });

  it('offers only while the device takes offers', async () => {
    const { channel, device } = await transport().attach();
    expect(channel.takesOffers).toBe(true);
    await device.refuseOffers();
    expect(channel.takesOffers).toBe(false);
    await expect(channel.offer(offerNamed('ssh'), never)).rejects.toMatchObject({ code: 'device_gone' });
    await device.takeOffers();
    expect(channel.takesOffers).toBe(true);
  });
}

function ends(transport: () => TransportUnderTest): void {
  it('fails every pending offer at once when the device drops', async () => {
    const { channel, device } = await transport().attach();
    const pending = [channel.offer(offerNamed('a'), never), channel.offer(offerNamed('b'), never)];
    await device.nextOffer();
    device.drop();
    for (const offer of pending) await expect(offer).rejects.toMatchObject({ code: 'device_gone' });
    expect(await channel.closed).toMatchObject({ code: 'device_gone' });
    expect(channel.takesOffers).toBe(false);
    await expect(channel.offer(offerNamed('c'), never)).rejects.toMatchObject({ code: 'device_gone' });
  });

  it('ends when the credential expires, not before', async () => {
    const { clock, code, attach } = transport();
    const { channel, device } = await attach({ expiresAt: clock.now() + 60_000 });
    await clock.advance(59_999);
    const answer = channel.offer(offerNamed('ssh'), never);
    device.answer({ requestId: (await device.nextOffer()).requestId, accepted: true });
    expect(await answer).toEqual({ accepted: true });
    await clock.advance(1);
    expect(await channel.closed).toMatchObject({ code: 'token_expired' });
    expect(await device.told).toBe(code('token_expired'));
  });

  it('tells the device why it is closed, once, with the first reason', async () => {
    const { code, attach } = transport();
    const { channel, device } = await attach();
    const pending = channel.offer(offerNamed('ssh'), never);
    channel.close(new CulvertError('taken_over'));
    channel.close(new CulvertError('draining'));
    expect(await channel.closed).toMatchObject({ code: 'taken_over' });
    await expect(pending).rejects.toMatchObject({ code: 'device_gone' });
    expect(await device.told).toBe(code('taken_over'));
  });
}

function bounds(transport: () => TransportUnderTest): void {
  it('holds 1,000 offers at once, answered in any order, and refuses one too many', async () => {
    const { maxOffers, attach } = transport();
    const { channel, device } = await attach();
    const pending = Array.from({ length: maxOffers }, (_, index) => channel.offer(offerNamed(`s${index}`), never));
    await expect(channel.offer(offerNamed('more'), never)).rejects.toMatchObject({ code: 'too_many_requests' });
    const ids: string[] = [];
    for (let index = 0; index < maxOffers; index++) {
      const offer = await device.nextOffer();
      expect(offer.streamName).toBe(`s${index}`);
      ids.push(offer.requestId);
    }
    for (const [index, requestId] of [...ids.entries()].reverse())
      device.answer({ requestId, accepted: index % 2 === 0 });
    const answers = await Promise.all(pending);
    expect(answers.map((answer) => answer.accepted)).toEqual(ids.map((_, index) => index % 2 === 0));
  });

  it('gives up a device that does not read', async () => {
    const { channel, device } = await transport().attach();
    device.stall();
    let ended: CulvertError | undefined;
    void channel.closed.then((error) => {
      ended = error;
    });
    // These offers are far more data than the kernel buffers for a device that does not read.
    for (let offers = 0; ended === undefined && offers < 40_000; offers++) {
      const patience = new AbortController();
      const offer = channel.offer(offerNamed('x'), patience.signal).catch((error: CulvertError) => error.code);
      patience.abort(new CulvertError('withdrawn'));
      await offer;
      if (offers % 100 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    // Flow control may have stopped the hub from sending. Then the keepalive timeout ends the channel.
    if (ended === undefined) await transport().clock.advance(3_600_000);
    expect(['stalled', 'keepalive_timeout']).toContain((ended as CulvertError | undefined)?.code);
  });
}
