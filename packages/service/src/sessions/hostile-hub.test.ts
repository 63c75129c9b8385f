import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { DeviceClient, type SessionEvent, type SessionServerOptions } from '@culvert/device';
import {
  deviceLinkContext,
  type EndKey,
  generateEndKey,
  KnownDevices,
  parseEndKey,
  secureLink,
} from '@culvert/session/keys';
import { systemClock, webSocketDuplex } from '@culvert/stream';
import { testAuthority } from '@culvert/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { ServiceClient, type ServiceSessionOptions } from '../service-client.ts';
import { HostileHub, type Side, type Tampering } from './hostile-hub.fixture.ts';
import type { ServiceSessionEvent } from './session-event.ts';

const key: EndKey = parseEndKey(generateEndKey(), 'a test');
const authority = await testAuthority('fleet');
let directory: string;
let number = 0;
let hub: HostileHub;
let device: DeviceClient;
let service: ServiceClient;
/** Names of the streams and connections that reached the device's program, and the bytes in them. */
let opened: string[];
let received: Buffer[];
let told: SessionEvent[];
let events: ServiceSessionEvent[];
let streams: Duplex[];

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-hostile-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));
afterEach(async () => {
  for (const stream of streams) stream.on('error', () => undefined).destroy();
  service.close();
  await device.close();
  await hub.scripted.stop();
});

async function start(serviceOptions: ServiceSessionOptions, deviceOptions: SessionServerOptions = { key }) {
  hub = await HostileHub.start();
  [opened, received, told, events, streams] = [[], [], [], [], []];
  const outbound = { ca: hub.scripted.ca, proxy: false } as const;
  device = DeviceClient.fromConnectionString(hub.scripted.deviceConnectionString('press-7'), {
    outbound,
    session: { ...deviceOptions, onEvent: (event) => told.push(event) },
    onStream: async (offer) => {
      opened.push(offer.name);
      const stream = await offer.accept();
      streams.push(stream);
      stream.on('data', (chunk: Buffer) => received.push(chunk));
      stream.on('error', () => undefined).pipe(stream);
    },
  });
  const opening = device.open();
  await hub.welcome();
  await opening;
  service = ServiceClient.fromConnectionString(hub.scripted.serviceConnectionString(), {
    outbound,
    session: { ...serviceOptions, onEvent: (event) => events.push(event) },
  });
}

/** Options of a service side that has a pin for the device. */
async function pinned(fingerprint = key.fingerprint): Promise<ServiceSessionOptions> {
  const knownDevices = join(directory, `known-${++number}`);
  const name = { hub: `127.0.0.1:${hub?.scripted.port ?? 0}`, deviceId: 'press-7' };
  await new KnownDevices(knownDevices, systemClock).add(name, fingerprint);
  return { knownDevices };
}

async function open(name = 'echo'): Promise<Duplex> {
  const stream = await service.openStream('press-7', { name });
  streams.push(stream);
  return stream;
}

function echo(stream: Duplex, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const listen = (chunk: Buffer): void => {
      answer += chunk.toString();
      if (answer.length < text.length) return;
      stream.off('data', listen);
      resolve(answer);
    };
    stream.on('data', listen).once('error', reject);
    stream.write(text);
  });
}

const session = 'id=00112233445566778899aabbccddeeff; lowest=1; highest=1; encrypted=1';
const unencrypted = (text = session): string => text.replace('encrypted=1', 'encrypted=0');
const DOWNGRADES: readonly (readonly [string, Tampering])[] = [
  ['leaves the session out of the offer', { offer: () => undefined }],
  ['asks the device for an unencrypted session', { offer: unencrypted }],
  ['sends the device a malformed session', { offer: () => 'encrypted=1' }],
  ['asks the device for another version', { offer: (text) => text?.replaceAll('=1; ', '=9; ') }],
  ['leaves the session out of the reply', { reply: () => undefined }],
  ['replies that the session is unencrypted', { reply: unencrypted }],
  ['replies with a malformed session', { reply: () => 'encrypted=1' }],
  ['replies with another version', { reply: () => 'version=2; encrypted=1' }],
];

describe('a hub that', () => {
  it.each(
    DOWNGRADES.flatMap(([what, tampering]) =>
      (['pin', 'authority'] as const).map((trust) => [what, trust, tampering] as const),
    ),
  )('%s gets nothing from a service side with a(n) %s', async (_what, trust, tampering) => {
    await start({});
    service.close();
    const options = trust === 'pin' ? await pinned() : { fleetAuthorities: [authority.certificate] };
    service = ServiceClient.fromConnectionString(hub.scripted.serviceConnectionString(), {
      outbound: { ca: hub.scripted.ca, proxy: false },
      session: options,
    });
    hub.tampering = tampering;
    await expect(open()).rejects.toMatchObject({
      code: 'encryption_required',
      message: expect.stringMatching(/^The hub offers only .* to press-7 at 127\.0\.0\.1:\d+.*: not connected\./),
    });
    expect(hub.seen).toEqual([]);
  });

  it.each(
    DOWNGRADES.slice(0, 4).flatMap(([what, { offer }]) =>
      ['echo', 'culvert-echo'].map((name) => [what, name, offer] as const),
    ),
  )('%s is refused by a device that requires encryption, for %s', async (_what, name, offer) => {
    // This service side would go on without encryption.
    await start({ allowUnencrypted: true }, { key, requireEncryption: true });
    hub.tampering = offer === undefined ? {} : { offer };
    await expect(open(name)).rejects.toMatchObject({
      code: 'rejected',
      message: expect.stringContaining(`'${name}': this device accepts encrypted sessions only`),
    });
    expect(told.slice(1)).toMatchObject([{ type: 'unencrypted-refused', caller: 'policy:service' }]);
    expect([opened, hub.seen]).toEqual([[], []]);
  });

  it.each([
    ['raw', { offer: () => undefined }],
    ['in an unencrypted session', { offer: unencrypted }],
  ])(
    'says that a device is encrypted which is %s ends the opening, and the device gets no connection',
    async (mode, tampering) => {
      await start({});
      hub.tampering = { ...tampering, reply: () => 'version=1; encrypted=1' };
      await expect(open()).rejects.toMatchObject({ code: expect.stringMatching(/^(protocol_error|stream_lost)$/) });
      // A raw stream reaches the program, which gets the beginning of a TLS handshake and nothing else.
      expect(opened).toEqual(mode === 'raw' ? ['echo'] : []);
      expect(received.every((chunk) => chunk[0] === 0x16)).toBe(true);
    },
  );

  it.each(DOWNGRADES)(
    '%s for a further link gets nothing, and the session goes on when it stops',
    async (_what, tampering) => {
      await start({});
      const stream = await open();
      expect(await echo(stream, 'before')).toBe('before');
      const before = hub.seen.length;
      hub.tampering = tampering;
      hub.cutLinks();
      await vi.waitUntil(() => hub.links >= 3);
      expect(hub.seen.slice(before)).toEqual([]);
      const refusals = [...events, ...told].filter(({ type }) => type.endsWith('-refused')).length;
      expect(refusals).toBeGreaterThan(0);
      hub.tampering = {};
      expect(await echo(stream, 'afterwards')).toBe('afterwards');
      expect(received.map(String).join('')).toBe('beforeafterwards');
    },
  );
});

describe('a hub in between with a key of its own', () => {
  /** Takes the service's connection and answers its TLS handshake. What the service sends then is in the result. */
  function intercept(from: number): Buffer[] {
    const stolen: Buffer[] = [];
    const context = deviceLinkContext({ key: parseEndKey(generateEndKey(), 'a test') });
    hub.tampering = {
      intercept: (socket, link) => {
        if (link < from) return false;
        const duplex = webSocketDuplex(socket);
        secureLink(duplex, { context, clock: systemClock, checkPeer: () => undefined }).then(
          (link) => link.duplex.on('data', (chunk: Buffer) => stolen.push(chunk)).on('error', () => undefined),
          () => undefined,
        );
        return true;
      },
    };
    return stolen;
  }

  it('is stopped by the pin, and gets nothing', async () => {
    await start({});
    service.close();
    service = ServiceClient.fromConnectionString(hub.scripted.serviceConnectionString(), {
      outbound: { ca: hub.scripted.ca, proxy: false },
      session: await pinned(),
    });
    const stolen = intercept(1);
    await expect(open()).rejects.toMatchObject({ code: 'key_changed' });
    expect(stolen).toEqual([]);
  });

  it('gets nothing on a further link, and the session goes on when it stops', async () => {
    await start({});
    const stream = await open();
    expect(await echo(stream, 'before')).toBe('before');
    const stolen = intercept(2);
    hub.cutLinks();
    await vi.waitUntil(() => events.some(({ type }) => type === 'session-link-refused'));
    expect(stolen).toEqual([]);
    hub.tampering = {};
    expect(await echo(stream, 'after')).toBe('after');
    expect(events.find(({ type }) => type === 'session-link-refused')).toMatchObject({
      text: expect.stringContaining("another key than the session's first link"),
    });
  });
});

describe('a hub that handles the bytes of links', () => {
  const flip = (message: Buffer): Buffer => {
    const changed = Buffer.from(message);
    const at = changed.length - 1;
    changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  const record = Buffer.from('1703030013000102030405060708090a0b0c0d0e0f101112', 'hex');
  const frame = Buffer.from('040000050000000168656c6c6f', 'hex');
  const ATTACKS: readonly (readonly [string, (message: Buffer, from: Side) => readonly Buffer[]])[] = [
    ['changes one bit', (message) => [flip(message)]],
    ['repeats a message', (message) => [message, message]],
    ['withholds a message', () => []],
    ['injects a TLS record', (message) => [record, message]],
    ['injects a frame of the session', (message) => [frame, message]],
    ['cuts a message short', (message) => [message.subarray(0, message.length - 1)]],
    ['sends a message back', (message) => [message, message.subarray(0, 0), record]],
  ];

  it('only reads sees no byte of what is sent', async () => {
    await start({});
    const stream = await open();
    const pattern = 'a secret of the two ends '.repeat(1_000);
    expect(await echo(stream, pattern)).toBe(pattern);
    const seen = Buffer.concat(hub.seen).toString('latin1');
    expect(seen.length).toBeGreaterThan(2 * pattern.length);
    for (const word of ['a secret', 'of the two ends', 'echo']) expect(seen.includes(word)).toBe(false);
    // The same without a key of the device, so that this test proves something.
    await device.close();
    await hub.scripted.stop();
    await start({}, {});
    expect(await echo(await open(), pattern)).toBe(pattern);
    expect(Buffer.concat(hub.seen).includes('a secret of the two ends')).toBe(true);
  });

  it.each(
    ATTACKS.flatMap(([what, attack]) => (['service', 'device'] as const).map((from) => [what, from, attack] as const)),
  )(
    '%s of the %s loses the link; the session goes on over another, and no wrong byte arrives',
    async (_what, side, attack) => {
      await start({});
      const attacked = new Set<number>();
      hub.tampering = {
        relay: (message, from, link, index) => {
          // Once on each of the first two links, beyond the handshake.
          if (from !== side || link > 2 || index < 8 || attacked.has(link)) return [message];
          attacked.add(link);
          return attack(message, from);
        },
      };
      const stream = await open();
      const sent = randomBytes(3_000_000);
      const back: Buffer[] = [];
      let length = 0;
      const all = new Promise<void>((resolve, reject) => {
        stream.on('error', reject);
        stream.on('data', (chunk: Buffer) => {
          back.push(chunk);
          length += chunk.length;
          if (length >= sent.length) resolve();
        });
      });
      stream.write(sent);
      await all;
      expect(attacked.has(1)).toBe(true);
      expect(hub.links).toBeGreaterThan(1);
      expect(Buffer.concat(received).equals(sent)).toBe(true);
      expect(Buffer.concat(back).equals(sent)).toBe(true);
    },
    30_000,
  );

  it('plays an old link again gets nothing from the device', async () => {
    await start({});
    const first: Buffer[] = [];
    hub.tampering = {
      relay: (message, from, link) => {
        if (from === 'service' && link === 1) first.push(message);
        return [message];
      },
    };
    const stream = await open();
    expect(await echo(stream, 'once')).toBe('once');
    hub.tampering = {
      relay: (message, from, link, index) =>
        from === 'service' && link === 2 ? (index === 0 ? [...first] : []) : [message],
    };
    hub.cutLinks();
    await vi.waitUntil(() => hub.links >= 3);
    expect(await echo(stream, 'twice')).toBe('twice');
    expect(received.map(String).join('')).toBe('oncetwice');
  });
});
