import type { Duplex } from 'node:stream';
import type { HubEvent } from '@culvert/hub';
import { CulvertError, type Identity, identityName } from '@culvert/protocol';
import { dialStream } from '@culvert/stream';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { DeviceUnderTest } from './control-channel-conformance.ts';
import { FakeClock } from './fake-clock.ts';
import { startHub, type TestHub, type TestHubOptions } from './test-hub.ts';

/** The credential of a device: a token or a certificate. */
export interface DeviceProof {
  /** A SAS token. */
  readonly token?: string;
  /** A client certificate and its key, PEM, and the TLS server name, which is absent if the device connects to an IP address. */
  readonly certificate?: { readonly cert: string; readonly key: string; readonly servername?: string };
}

/** A transport of control channels. */
export interface DeviceTransport {
  readonly name: string;
  /** Connects, authenticates and subscribes to offers; rejects if the hub refuses the device. */
  attach(hub: TestHub, identity: Identity, proof: DeviceProof): Promise<DeviceUnderTest>;
}

/** One kind of credential for devices. */
export interface DeviceCredentials {
  readonly name: string;
  /**
   * Registers the identity, and returns a credential for it that is valid until `expiresAt`, milliseconds since the epoch. The device of a module
   * identity is already registered.
   */
  register(hub: TestHub, identity: Identity, expiresAt: number): Promise<DeviceProof>;
}

const DAY_MS = 86_400_000;

/**
 * Defines the tests of a hub's behaviour towards a device or a module, for one transport and one kind of credential: from the service's request
 * to the bytes at the gateway, on a real hub with a fake clock.
 * @param offers number of offers that one control channel is tested to carry
 * @param options options of the hub, such as the listeners that the transport needs
 */
export function deviceConformance(
  transport: DeviceTransport,
  credentials: DeviceCredentials,
  moduleId: string | undefined,
  offers: number,
  options: TestHubOptions = {},
): void {
  describe(`device conformance: ${moduleId === undefined ? 'device' : 'module'}, ${transport.name}, ${credentials.name}`, () => {
    const bench = new Bench(transport, credentials, moduleId, options);
    beforeAll(() => bench.start());
    afterAll(() => bench.stop());
    beforeEach(() => bench.nextIdentity());
    afterEach(() => bench.dropDevices());
    answers(bench);
    comingAndGoing(bench);
    it(`takes ${offers} offers`, () => manyOffers(bench, offers));
  });
}

/** One hub for all tests of a suite. Each test has its own identity. */
class Bench {
  /** Starts at the current time, because the validity of real certificates is checked against it. */
  readonly clock = new FakeClock(Date.now());
  readonly #transport: DeviceTransport;
  readonly #credentials: DeviceCredentials;
  readonly #moduleId: string | undefined;
  readonly #options: TestHubOptions;
  #hub: TestHub | undefined;
  #tests = 0;
  readonly #devices: DeviceUnderTest[] = [];

  constructor(
    transport: DeviceTransport,
    credentials: DeviceCredentials,
    moduleId: string | undefined,
    options: TestHubOptions,
  ) {
    this.#transport = transport;
    this.#credentials = credentials;
    this.#moduleId = moduleId;
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#hub = await startHub({ ...this.#options, clock: this.clock });
  }

  async stop(): Promise<void> {
    await this.#hub?.stop();
  }

  async nextIdentity(): Promise<void> {
    this.#tests++;
    // The device of a module always has its own key, whatever the credential of the module is.
    if (this.#moduleId !== undefined) await this.hub.owner.devices.create(this.identity.deviceId);
  }

  dropDevices(): void {
    for (const device of this.#devices.splice(0)) device.drop();
  }

  get identity(): Identity {
    const deviceId = `d${this.#tests}`;
    return this.#moduleId === undefined ? { deviceId } : { deviceId, moduleId: this.#moduleId };
  }

  /** Resolves with the first event of the test's identity that matches. */
  event<Type extends 'device-detached' | 'stream-failed' | 'stream-requested'>(
    type: Type,
    matches: (event: Extract<HubEvent, { type: Type }>) => boolean = () => true,
  ) {
    const name = identityName(this.identity);
    return this.hub.event(type, (event) => identityName(event) === name && matches(event));
  }

  get hub(): TestHub {
    if (this.#hub === undefined) throw new Error('no hub was started');
    return this.#hub;
  }

  get detached(): boolean {
    const name = identityName(this.identity);
    return this.hub.events.some((event) => event.type === 'device-detached' && identityName(event) === name);
  }

  register(expiresAt = this.clock.now() + DAY_MS): Promise<DeviceProof> {
    return this.#credentials.register(this.hub, this.identity, expiresAt);
  }

  async attach(proof: DeviceProof): Promise<DeviceUnderTest> {
    const device = await this.#transport.attach(this.hub, this.identity, proof);
    this.#devices.push(device);
    return device;
  }

  /** Requests a stream to the test's identity as a service does. */
  open(times: { connectTimeoutMs?: number; responseTimeoutMs?: number; signal?: AbortSignal } = {}): Promise<Duplex> {
    const { deviceId, moduleId } = this.identity;
    return this.hub.owner.openStream(deviceId, {
      name: 'ssh',
      ...(moduleId === undefined ? {} : { moduleId }),
      ...times,
    });
  }

  dial(offer: { grant: { url: string; token: string } }): Promise<Duplex> {
    return dialStream(offer.grant, { outbound: this.hub.outbound });
  }
}

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: CulvertError) => error.code,
  );

/** Sends data from the service to the device, which echoes it, and expects to receive the same data. */
async function echoes(service: Duplex, device: Duplex): Promise<void> {
  device.pipe(device);
  const sent = Buffer.alloc(300_000, 'culvert');
  service.end(sent);
  const chunks: Buffer[] = [];
  for await (const chunk of service as AsyncIterable<Buffer>) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(sent)).toBe(true);
}

function answers(bench: Bench): void {
  it('accepts, and bytes go both ways', async () => {
    const device = await bench.attach(await bench.register());
    const stream = bench.open();
    const offer = await device.nextOffer();
    expect(offer.streamName).toBe('ssh');
    device.answer({ requestId: offer.requestId, accepted: true });
    await echoes(await stream, await bench.dial(offer));
  });

  it('dials before it answers', async () => {
    const device = await bench.attach(await bench.register());
    const stream = bench.open();
    const offer = await device.nextOffer();
    const end = await bench.dial(offer);
    device.answer({ requestId: offer.requestId, accepted: true });
    await echoes(await stream, end);
  });

  it('rejects, with the reason', async () => {
    const device = await bench.attach(await bench.register());
    const stream = bench.open();
    device.answer({ requestId: (await device.nextOffer()).requestId, accepted: false, reason: 'not today' });
    await expect(stream).rejects.toMatchObject({ code: 'rejected', message: expect.stringContaining('not today') });
  });

  it('is silent, and the caller is told; its late answer troubles nobody', async () => {
    const device = await bench.attach(await bench.register());
    const silent = codeOf(bench.open({ connectTimeoutMs: 0, responseTimeoutMs: 20_000 }));
    const { requestId } = await device.nextOffer();
    await bench.clock.advance(20_000);
    expect(await silent).toBe('device_silent');
    device.answer({ requestId, accepted: true });
    const next = bench.open();
    device.answer({ requestId: (await device.nextOffer()).requestId, accepted: false });
    expect(await codeOf(next)).toBe('rejected');
  });

  it('is asked, and the caller goes away', async () => {
    const device = await bench.attach(await bench.register());
    const caller = new AbortController();
    const withdrawn = codeOf(bench.open({ signal: caller.signal }));
    const offer = await device.nextOffer();
    caller.abort(new CulvertError('aborted'));
    expect(await withdrawn).toBe('aborted');
    await bench.event('stream-failed', ({ error }) => error === 'withdrawn');
    device.answer({ requestId: offer.requestId, accepted: true });
    expect(await codeOf(bench.dial(offer))).not.toBe('no error');
  });
}

function comingAndGoing(bench: Bench): void {
  it('drops in the middle of an offer', async () => {
    const device = await bench.attach(await bench.register());
    const stream = codeOf(bench.open());
    await device.nextOffer();
    device.drop();
    expect(await stream).toBe('device_gone');
    await bench.event('device-detached');
  });

  it('is waited for when it is gone, and comes back', async () => {
    const proof = await bench.register();
    (await bench.attach(proof)).drop();
    await bench.event('device-detached');
    expect(await codeOf(bench.open({ connectTimeoutMs: 0 }))).toBe('device_offline');
    const first = await bench.event('stream-requested');
    const stream = codeOf(bench.open({ connectTimeoutMs: 30_000 }));
    await bench.event('stream-requested', ({ streamId }) => streamId !== first.streamId);
    const device = await bench.attach(proof);
    device.answer({ requestId: (await device.nextOffer()).requestId, accepted: false });
    expect(await stream).toBe('rejected');
  });

  it('is taken over by a newer connection of its own', async () => {
    const proof = await bench.register();
    const older = await bench.attach(proof);
    const newer = await bench.attach(proof);
    await older.told;
    await bench.event('device-detached', ({ error }) => error === 'taken_over');
    const stream = codeOf(bench.open());
    newer.answer({ requestId: (await newer.nextOffer()).requestId, accepted: false });
    expect(await stream).toBe('rejected');
  });

  it('stays until its credential expires, and no longer', async () => {
    // Tokens and certificates expire at whole seconds. The authenticator, not this test, covers the clock skew that is allowed for tokens.
    const expiresAt = (Math.floor(bench.clock.now() / 1000) + 40) * 1000;
    const device = await bench.attach(await bench.register(expiresAt));
    await bench.clock.advance(30_000);
    expect(bench.detached).toBe(false);
    await bench.clock.advance(20_000 + 300_000);
    await device.told;
    const detached = await bench.event('device-detached');
    expect(['token_expired', 'keepalive_timeout']).toContain(detached.error);
  });

  it('loses its channel when it is deleted', async () => {
    const device = await bench.attach(await bench.register());
    await bench.hub.owner.devices.delete(bench.identity.deviceId);
    await device.told;
    expect(await bench.event('device-detached')).toMatchObject({ error: 'revoked' });
  });
}

async function manyOffers(bench: Bench, offers: number): Promise<void> {
  const device = await bench.attach(await bench.register());
  let answered = 0;
  const answering = (async () => {
    for (; answered < offers; answered++) {
      const { requestId } = await device.nextOffer();
      device.answer({ requestId, accepted: false, reason: `no ${answered}` });
    }
  })();
  let left = offers;
  const caller = async () => {
    while (left > 0) {
      left--;
      expect(await codeOf(bench.open())).toBe('rejected');
    }
  };
  // The number of concurrent requests stays below the hub's default limit of offers per device.
  await Promise.all(Array.from({ length: 32 }, caller));
  await answering;
  expect(answered).toBe(offers);
}
