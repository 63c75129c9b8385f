import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { connect, createSecureContext, createServer, type TLSSocket } from 'node:tls';
import { CulvertError, LIMITS } from '@culvert/protocol';
import { type Clock, destroyConnection, systemClock } from '@culvert/stream';
import { duplexPair, FakeClock, testCertificate } from '@culvert/testkit';
import { describe, expect, it, vi } from 'vitest';
import type { EndKey } from './end-key.ts';
import { deviceLinkContext, LINK_PROTOCOL, serviceLinkContext } from './link-context.ts';
import { established, fail, linkBoth, newKey, outcome } from './links.fixture.ts';
import { anyServiceCheck, authorizedServiceCheck, sameKeyCheck } from './peer-checks.ts';
import { LINK_HANDSHAKE_MS, linkFault, secureLink } from './secure-link.ts';

const subject = { hub: 'hub.example.com', identity: { deviceId: 'press-7' } };

function closed(duplex: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (duplex.closed) resolve();
    else duplex.once('close', () => resolve());
  });
}

/** A TLS client of another make, over a stream to a device. */
function rawClient(socket: Duplex, options: object = {}): TLSSocket {
  const client = connect({ socket, rejectUnauthorized: false, ALPNProtocols: [LINK_PROTOCOL], ...options });
  client.on('error', () => {});
  return client;
}

function deviceEnd(duplex: Duplex, key: EndKey, check = anyServiceCheck, clock = new FakeClock()) {
  return outcome(secureLink(duplex, { clock, context: deviceLinkContext({ key }), checkPeer: check }));
}

function serviceEnd(duplex: Duplex, clock: Clock = new FakeClock()) {
  return outcome(secureLink(duplex, { clock, context: serviceLinkContext({ key: undefined }), checkPeer: () => {} }));
}

describe('a link', () => {
  it('that is being encrypted does not keep the process alive', async () => {
    const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
    const before = timers();
    const [service, device] = duplexPair();
    const result = serviceEnd(service, systemClock);
    expect(timers()).toBe(before);
    destroyConnection(device);
    expect(await result).toMatchObject({ code: 'stream_lost' });
    expect(timers()).toBe(before);
  });

  it('carries bytes both ways, then the end, and tells each end the other’s key', async () => {
    const [serviceKey, deviceKey] = [newKey(), newKey()];
    const { service, device } = established(await linkBoth({ key: serviceKey }, { key: deviceKey }));
    expect(service.peer.fingerprint).toBe(deviceKey.fingerprint);
    expect(device.peer.fingerprint).toBe(serviceKey.fingerprint);
    const sent = randomBytes(3_000_000);
    device.duplex.pipe(device.duplex, { end: false });
    service.duplex.write(sent);
    const received: Buffer[] = [];
    let left = sent.length;
    for await (const chunk of service.duplex.iterator({ destroyOnReturn: false })) {
      received.push(chunk as Buffer);
      left -= (chunk as Buffer).length;
      if (left <= 0) break;
    }
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    device.duplex.end('the last bytes');
    expect(await text(service.duplex)).toBe('the last bytes');
  });

  it('has a binding that is equal at both ends, and another on the next link of the same keys', async () => {
    const [serviceKey, deviceKey] = [newKey(), newKey()];
    const first = established(await linkBoth({ key: serviceKey }, { key: deviceKey }));
    const second = established(await linkBoth({ key: serviceKey }, { key: deviceKey }));
    expect(first.service.binding).toHaveLength(32);
    expect(first.service.binding).toEqual(first.device.binding);
    expect(second.service.binding).toEqual(second.device.binding);
    expect(first.service.binding).not.toEqual(second.service.binding);
  });

  it('is made by one context many times, several at once', async () => {
    const key = newKey();
    const device = deviceLinkContext({ key });
    const service = serviceLinkContext({ key: undefined });
    const clock = new FakeClock();
    for (let round = 0; round < 3; round++) {
      const links = await Promise.all(
        Array.from({ length: 4 }, async () => {
          const [a, b] = duplexPair();
          return Promise.all([
            secureLink(a, { clock, context: service, checkPeer: () => {} }),
            secureLink(b, { clock, context: device, checkPeer: () => {} }),
          ]);
        }),
      );
      for (const [a, b] of links) expect(a.binding).toEqual(b.binding);
      expect(new Set(links.map(([a]) => Buffer.from(a.binding).toString('hex'))).size).toBe(4);
    }
    expect(clock.timers).toBe(0);
  });

  it('without a key at the service has no fingerprint there', async () => {
    const { device } = established(await linkBoth({}, { key: newKey() }));
    expect(device.peer).toMatchObject({ fingerprint: undefined, certificate: undefined });
  });

  it('passes on what follows the handshake in the same chunk, however much it is', async () => {
    const { below, ...ends } = await linkBoth({}, { key: newKey() });
    const { service, device } = established({ below, ...ends });
    service.duplex.end(Buffer.alloc(1_000_000, 7));
    let bytes = 0;
    for await (const chunk of device.duplex) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(1_000_000);
  });

  it('destroys the stream below when it is destroyed, and fails when the stream below does', async () => {
    const one = await linkBoth({}, { key: newKey() });
    const bothClosed = Promise.all(one.below.map(closed));
    const { service } = established(one);
    destroyConnection(service.duplex);
    await bothClosed;
    const other = await linkBoth({}, { key: newKey() });
    const links = established(other);
    const ended = closed(links.device.duplex);
    const [, below] = other.below;
    fail(below, new CulvertError('stream_lost'));
    await ended;
  });

  it.each([
    ['changes', (chunk: Buffer) => [Buffer.concat([chunk.subarray(0, -1), Buffer.from([(chunk.at(-1) ?? 0) ^ 1])])]],
    ['repeats', (chunk: Buffer) => [chunk, chunk]],
    ['leaves out', (_chunk: Buffer, index: number) => (index === 0 ? [] : [_chunk])],
    ['inserts', (chunk: Buffer) => [Buffer.from('1703030003616263', 'hex'), chunk]],
  ])('fails, without ending the process, when somebody in between %s bytes', async (_what, between) => {
    const { below, ...ends } = await linkBoth({}, { key: newKey() });
    const { service, device } = established({ below, ...ends });
    const ended = Promise.all([device.duplex, service.duplex, ...below].map(closed));
    const failed = new Promise<Error>((resolve) => device.duplex.once('error', resolve));
    const received: Buffer[] = [];
    device.duplex.on('data', (chunk: Buffer) => received.push(chunk));
    const [, stream] = below;
    const [feed] = stream.listeners('data');
    stream.removeAllListeners('data');
    let index = 0;
    stream.on('data', (chunk: Buffer) => {
      for (const part of between(chunk, index++)) feed?.call(stream, part);
    });
    service.duplex.write('first ');
    setImmediate(() => service.duplex.write('second'));
    expect(await failed).toMatchObject({ code: expect.stringMatching(/^ERR_SSL_/) });
    await ended;
    expect('first second'.startsWith(Buffer.concat(received).toString())).toBe(true);
  });

  it('fails over a stream from which TLS does not read as expected', async () => {
    const clock = new FakeClock();
    const [a, b] = duplexPair();
    a.on('error', () => {});
    b.on('data', () => {});
    const link = secureLink(b, { clock, context: serviceLinkContext({ key: undefined }), checkPeer: () => {} });
    expect(await outcome(link)).toMatchObject({ code: 'internal' });
    await closed(b);
    expect(clock.timers).toBe(0);
  });
});

describe('the check of the peer', () => {
  it('refuses a wrong key before a byte was sent or read', async () => {
    const key = newKey();
    const [a, b] = duplexPair();
    const clock = new FakeClock();
    const service = outcome(
      secureLink(a, {
        clock,
        context: serviceLinkContext({ key: newKey() }),
        checkPeer: sameKeyCheck(newKey().fingerprint),
      }),
    );
    const client = closed(a);
    const device = await deviceEnd(b, key);
    expect(await service).toMatchObject({ code: 'key_refused' });
    await client;
    expect(clock.timers).toBe(0);
    // The service side may have completed the handshake: then the device reads nothing more.
    if (device instanceof Error) expect(device).toMatchObject({ code: 'stream_lost' });
    else {
      const received: unknown[] = [];
      device.duplex.on('data', (chunk) => received.push(chunk));
      await closed(device.duplex);
      expect(received).toEqual([]);
    }
  });

  it('may take its time, during which nothing is read from the peer', async () => {
    const key = newKey();
    const [a, b] = duplexPair();
    const clock = new FakeClock();
    let accept = () => {};
    const asked = new Promise<void>((resolve) => {
      accept = resolve;
    });
    const service = secureLink(a, { clock, context: serviceLinkContext({ key: undefined }), checkPeer: () => asked });
    const device = await secureLink(b, { clock, context: deviceLinkContext({ key }), checkPeer: () => {} });
    device.duplex.end('early');
    accept();
    const link = await service;
    expect(await text(link.duplex)).toBe('early');
    expect(clock.timers).toBe(0);
  });

  it('refuses a client without a key where one is required, and one with another key, and tells both by the farewell', async () => {
    const [known, deviceKey] = [newKey(), newKey()];
    const check = authorizedServiceCheck({ fingerprints: new Set([known.fingerprint]), authorities: [] }, subject);
    established(await linkBoth({ key: known }, { key: deviceKey, check }));
    for (const key of [undefined, newKey()]) {
      const farewell = ({ code }: CulvertError) => Buffer.from(`refused: ${code}`);
      const { service, device, below } = await linkBoth({ key }, { key: deviceKey, check, farewell });
      expect(device).toMatchObject({ code: 'key_refused' });
      // The handshake of a client is complete before the server has judged it.
      if (service instanceof Error) throw service;
      expect(await text(service.duplex)).toBe('refused: key_refused');
      service.duplex.end();
      await Promise.all(below.map(closed));
    }
  });

  it('destroys a refused link after five seconds when the peer does not end it', async () => {
    const clock = new FakeClock();
    const [a, b] = duplexPair();
    const check = authorizedServiceCheck({ fingerprints: new Set(), authorities: [] }, subject);
    const context = deviceLinkContext({ key: newKey() });
    const refused = outcome(secureLink(b, { clock, context, checkPeer: check, farewell: () => Buffer.from('bye') }));
    const client = rawClient(a, { allowHalfOpen: true });
    expect(await refused).toMatchObject({ code: 'key_refused' });
    expect(clock.timers).toBe(1);
    const ended = closed(b);
    await clock.advance(LIMITS.lingerMs);
    await ended;
    destroyConnection(client);
  });
});

describe('a handshake', () => {
  it('is never resumed: with a saved ticket a client without its key gets a full one, and is refused', async () => {
    const [known, deviceKey] = [newKey(), newKey()];
    const context = deviceLinkContext({ key: deviceKey });
    const check = authorizedServiceCheck({ fingerprints: new Set([known.fingerprint]), authorities: [] }, subject);
    const accept = (duplex: Duplex) =>
      outcome(secureLink(duplex, { clock: new FakeClock(), context, checkPeer: check }));
    const [a, b] = duplexPair();
    const first = accept(b);
    const client = rawClient(a, known.credentials());
    const sessions: Buffer[] = [];
    client.on('session', (session) => sessions.push(session));
    client.resume();
    const link = await first;
    if (link instanceof Error) throw link;
    link.duplex.end('tickets would stand before this');
    await once(client, 'end');
    // OpenSSL sends tickets even so, by which it would have to look up a session that is not kept.
    const ticket = sessions.at(-1) ?? client.getSession();
    const [c, d] = duplexPair();
    const second = accept(d);
    const thief = rawClient(c, { session: ticket });
    await once(thief, 'secureConnect');
    expect(thief.isSessionReused()).toBe(false);
    expect(await second).toMatchObject({ code: 'key_refused' });
    destroyConnection(client);
  });

  it.each([
    [{ protocol: 'TLSv1.3', alpn: LINK_PROTOCOL, reused: false }, undefined],
    [{ protocol: 'TLSv1.3', alpn: LINK_PROTOCOL, reused: true }, /resumed/],
    [{ protocol: 'TLSv1.2', alpn: LINK_PROTOCOL, reused: false }, /TLS 1\.3/],
    [{ protocol: 'TLSv1.3', alpn: false as const, reused: false }, /culvert-session\/1/],
    [{ protocol: 'TLSv1.3', alpn: 'h2', reused: false }, /culvert-session\/1/],
  ])('is judged as a whole: %j', ({ protocol, alpn, reused }, fault) => {
    const found = linkFault({ getProtocol: () => protocol, alpnProtocol: alpn, isSessionReused: () => reused });
    if (fault === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(fault);
  });

  it('at the service side refuses a resumed session even from a device that would take one', async () => {
    const { cert, key } = await testCertificate();
    const server = createServer({ cert, key, ALPNProtocols: [LINK_PROTOCOL] });
    server.on('secureConnection', (tls) => tls.on('error', () => {}));
    const sessions: Buffer[] = [];
    const [a, b] = duplexPair();
    server.emit('connection', b);
    const client = rawClient(a);
    client.on('session', (session) => sessions.push(session));
    client.resume();
    await vi.waitUntil(() => sessions.length > 0);
    const [c, d] = duplexPair();
    server.emit('connection', d);
    const context = serviceLinkContext({ key: undefined });
    const resuming = { ...context, startHandshake: resumeWith(sessions[0] as Buffer) };
    const link = secureLink(c, { clock: new FakeClock(), context: resuming, checkPeer: () => {} });
    expect(await outcome(link)).toMatchObject({ code: 'protocol_error', message: expect.stringMatching(/resumed/) });
    await closed(c);
    destroyConnection(client);
  });

  it.each(['service', 'device'] as const)('with TLS 1.2 is refused by the %s', async (side) => {
    const [a, b] = duplexPair();
    if (side === 'device') {
      const device = deviceEnd(b, newKey());
      rawClient(a, { maxVersion: 'TLSv1.2' });
      expect(await device).toMatchObject({ code: 'protocol_error' });
      await closed(b);
      return;
    }
    const { cert, key } = await testCertificate();
    const server = createServer({ cert, key, maxVersion: 'TLSv1.2', ALPNProtocols: [LINK_PROTOCOL] });
    server.emit('connection', b);
    expect(await serviceEnd(a)).toMatchObject({ code: 'protocol_error' });
    await closed(a);
  });

  it.each([[[]], [['h2']]])('for another protocol is refused by the device: %j', async (ALPNProtocols) => {
    const [a, b] = duplexPair();
    const device = deviceEnd(b, newKey());
    rawClient(a, { ALPNProtocols });
    expect(await device).toMatchObject({ code: 'protocol_error' });
  });

  it('with a device that speaks no protocol in it is refused by the service side', async () => {
    const { cert, key } = await testCertificate();
    const [a, b] = duplexPair();
    createServer({ cert, key }).emit('connection', b);
    expect(await serviceEnd(a)).toMatchObject({ code: 'protocol_error' });
  });

  it.each(['service', 'device'] as const)('of garbage is refused by the %s', async (side) => {
    const [a, b] = duplexPair();
    const link = side === 'device' ? deviceEnd(b, newKey()) : serviceEnd(b);
    a.on('error', () => {});
    a.resume();
    a.write('GET / HTTP/1.1\r\n\r\n');
    expect(await link).toMatchObject({ code: 'protocol_error' });
    await closed(b);
  });

  it.each(['service', 'device'] as const)('that stalls ends at the %s after ten seconds', async (side) => {
    const clock = new FakeClock();
    const [a, b] = duplexPair();
    a.on('error', () => {});
    a.resume();
    const link = side === 'device' ? deviceEnd(b, newKey(), anyServiceCheck, clock) : serviceEnd(b, clock);
    let isOver = false;
    void link.then(() => {
      isOver = true;
    });
    // The beginning of a ClientHello or ServerHello whose rest never arrives.
    a.write(Buffer.from('160303010001', 'hex'));
    await clock.advance(LINK_HANDSHAKE_MS - 1);
    expect(isOver).toBe(false);
    await clock.advance(1);
    expect(await link).toMatchObject({ code: 'handshake_timeout' });
    await closed(b);
    expect(clock.timers).toBe(0);
  });

  it('ends after ten seconds too when the check of the peer does not', async () => {
    const clock = new FakeClock();
    const [a, b] = duplexPair();
    const device = secureLink(b, {
      clock: new FakeClock(),
      context: deviceLinkContext({ key: newKey() }),
      checkPeer() {},
    });
    const checkPeer = vi.fn(() => new Promise<void>(() => {}));
    const service = outcome(secureLink(a, { clock, context: serviceLinkContext({ key: undefined }), checkPeer }));
    await device;
    await vi.waitUntil(() => checkPeer.mock.calls.length > 0);
    await clock.advance(LINK_HANDSHAKE_MS);
    expect(await service).toMatchObject({ code: 'handshake_timeout' });
  });

  it('of more than 16 KiB is refused before the rest is looked at, in one chunk or in many', async () => {
    for (const size of [300, 1_000_000]) {
      const [a, b] = duplexPair();
      const device = deviceEnd(b, newKey());
      a.on('error', () => {});
      // Records of a ClientHello that announces 100,000 bytes.
      const hello = Buffer.concat([Buffer.from('010186a0', 'hex'), Buffer.alloc(60_000)]);
      const records = Buffer.concat(
        Array.from({ length: 6 }, (_, index) => {
          const part = hello.subarray(index * 10_000, (index + 1) * 10_000);
          const header = Buffer.from([0x16, 3, 3, part.length >> 8, part.length & 0xff]);
          return Buffer.concat([header, part]);
        }),
      );
      for (let at = 0; at < records.length && !b.destroyed; at += size) a.write(records.subarray(at, at + size));
      const error = await device;
      expect(error).toMatchObject({ code: 'protocol_error', message: expect.stringMatching(/too many bytes/) });
    }
  });

  it('ends with the stream, also where that ends cleanly, with the stream’s own error where it has one, and with the signal', async () => {
    const clock = new FakeClock();
    const context = deviceLinkContext({ key: newKey() });
    const start = (signal?: AbortSignal) => {
      const [a, b] = duplexPair();
      a.on('error', () => {});
      const link = outcome(secureLink(b, { clock, context, checkPeer: () => {}, ...(signal && { signal }) }));
      return { a, b, link };
    };
    const one = start();
    one.a.end();
    expect(await one.link).toMatchObject({ code: 'stream_lost' });
    const two = start();
    fail(two.b, new CulvertError('quota_reached'));
    expect(await two.link).toMatchObject({ code: 'quota_reached' });
    const controller = new AbortController();
    const three = start(controller.signal);
    controller.abort(new CulvertError('draining'));
    expect(await three.link).toMatchObject({ code: 'draining' });
    expect(await start(controller.signal).link).toMatchObject({ code: 'draining' });
    const [other, dead] = duplexPair();
    other.on('error', () => {});
    dead.on('error', () => {});
    fail(dead, new CulvertError('revoked'));
    await closed(dead);
    expect(await outcome(secureLink(dead, { clock, context, checkPeer: () => {} }))).toMatchObject({ code: 'revoked' });
    expect(clock.timers).toBe(0);
  });
});

/** Starts handshakes as the service side does, but offers a saved session. */
function resumeWith(session: Buffer): ReturnType<typeof serviceLinkContext>['startHandshake'] {
  return (duplex, { onDone, onFailed }) => {
    const secureContext = createSecureContext({ ca: [], minVersion: 'TLSv1.3' });
    const tls = rawClient(duplex, { secureContext, session });
    tls.once('error', onFailed);
    tls.once('secureConnect', () => onDone(tls));
  };
}
