import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  CulvertError,
  formatAnswerTopic,
  formatOfferTopic,
  formatSessionRequest,
  OFFER_PROPERTIES,
  SESSION_PROPERTY,
} from '@culvert/protocol';
import { FakeClock, type ScriptedChannel, ScriptedHub, type ScriptedHubOptions } from '@culvert/testkit';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DeviceClient } from './device-client.ts';
import type { StreamOffer } from './stream-offer.ts';

const STREAM_ID = 'ab'.repeat(16);

let hub: ScriptedHub;
let device: DeviceClient;
let channel: ScriptedChannel;
let clock: FakeClock;

async function attach(onStream: (offer: StreamOffer) => void | Promise<void>, options: ScriptedHubOptions = {}) {
  hub = await ScriptedHub.start(options);
  clock = new FakeClock();
  device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
    // The tests answer offers of sessions themselves.
    session: false,
    onStream,
    outbound: { ca: hub.ca },
    clock,
    // So long that no ping becomes due when a test advances the clock.
    keepaliveSeconds: 1_800,
  });
  const opened = device.open();
  channel = await hub.channel();
  await channel.welcome();
  await opened;
}

afterEach(async () => {
  vi.restoreAllMocks();
  await device.close();
  await hub.stop();
});

function publish(requestId = '1', properties: Record<string, string> = {}): void {
  const url = hub.streamUrl(STREAM_ID, 'device');
  channel.publish(formatOfferTopic({ streamName: 'echo', requestId, url, token: 'the-grant' }), properties);
}

/** Receives the device's answer to an offer and formats it as `request-id: status reason`. */
async function answer(): Promise<string> {
  const { topic, payload } = await channel.take('publish');
  const [, status, requestId] = /^\$iothub\/streams\/res\/(\d+)\/\?\$rid=(\w+)$/.exec(topic) ?? [];
  return `${requestId}: ${status} ${String(payload)}`.trim();
}

describe('an offer', () => {
  it('tells what is known of it', async () => {
    const offers: StreamOffer[] = [];
    await attach((offer) => {
      offers.push(offer);
      return offer.reject();
    });
    publish('1', { [OFFER_PROPERTIES.streamId]: STREAM_ID, [OFFER_PROPERTIES.caller]: 'policy:service' });
    expect(await answer()).toBe('1: 400');
    publish('2');
    expect(await answer()).toBe('2: 400');
    expect(offers).toMatchObject([
      { name: 'echo', streamId: STREAM_ID, caller: 'policy:service' },
      { name: 'echo', streamId: undefined, caller: undefined },
    ]);
  });

  it('tells of a session, which is answered with what the device chose', async () => {
    const offers: StreamOffer[] = [];
    await attach(async (offer) => {
      offers.push(offer);
      const stream = await offer.accept({ session: { version: 2, encrypted: true } });
      stream.on('error', () => undefined);
    });
    const session = { id: 'cd'.repeat(16), lowest: 1, highest: 2, encrypted: true };
    const properties = { [OFFER_PROPERTIES.session]: formatSessionRequest(session) };
    publish('1', { ...properties, [OFFER_PROPERTIES.services]: '["ssh"]', [OFFER_PROPERTIES.idleMs]: '60000' });
    const { topic, properties: answered } = await channel.take('publish');
    expect([topic, answered?.userProperties]).toMatchObject([
      formatAnswerTopic({ requestId: '1', accepted: true }),
      { [SESSION_PROPERTY]: 'version=2; encrypted=1' },
    ]);
    expect(offers[0]).toMatchObject({ session, services: ['ssh'], idleMs: 60_000 });
  });

  it.each([
    ['of another version', { lowest: 1, highest: 1 }],
    ['that the service did not ask for', undefined],
  ])('is not accepted with a session %s', async (_what, range) => {
    await attach(async (offer) => {
      await offer.accept({ session: { version: 2, encrypted: true } });
    });
    const text = range && formatSessionRequest({ id: 'cd'.repeat(16), ...range, encrypted: true });
    publish('1', text === undefined ? {} : { [OFFER_PROPERTIES.session]: text });
    expect(await answer()).toBe('1: 400 The service has not asked for a session of this version.');
  });

  it('with a malformed session is raw, and a malformed list of services names none', async () => {
    const offers: StreamOffer[] = [];
    await attach((offer) => {
      offers.push(offer);
      return offer.reject();
    });
    publish('1', {
      ...{ [OFFER_PROPERTIES.session]: 'id=1', [OFFER_PROPERTIES.services]: 'all', [OFFER_PROPERTIES.idleMs]: '-1' },
    });
    await answer();
    expect(offers[0]).toMatchObject({ session: undefined, services: [], idleMs: undefined });
  });

  it('accepted gives the stream, with what was sent before anybody listened', async () => {
    let accepted: Promise<Duplex> | undefined;
    let authorization: string | undefined;
    await attach(
      async (offer) => {
        accepted = offer.accept();
        await accepted;
      },
      {
        onStream: (socket, request) => {
          authorization = request.headers.authorization;
          socket.send('early');
          socket.once('message', (data) => {
            socket.send(data);
            socket.close(1000);
          });
        },
      },
    );
    publish();
    expect(await answer()).toBe('1: 200');
    const stream = await accepted;
    const chunks: string[] = [];
    stream?.write('!');
    for await (const chunk of stream ?? []) chunks.push(String(chunk));
    stream?.end();
    expect(chunks.join('')).toBe('early!');
    expect(authorization).toBe('Bearer the-grant');
  });

  it('accepted gives the WebSocket itself, paused, in the low-level form', async () => {
    let message: Promise<unknown[]> | undefined;
    let paused: boolean | undefined;
    await attach(
      async (offer) => {
        const socket = await offer.acceptWebSocket();
        paused = socket.isPaused;
        message = once(socket, 'message');
        socket.resume();
        await message;
        socket.terminate();
      },
      { onStream: (socket) => socket.send('early') },
    );
    publish();
    expect(await answer()).toBe('1: 200');
    await expect.poll(() => message).toBeDefined();
    expect(String((await message)?.[0])).toBe('early');
    expect(paused).toBe(true);
  });

  it('accepted ends with an error when the stream was aborted', async () => {
    let failed: Promise<unknown[]> | undefined;
    await attach(
      async (offer) => {
        const stream = await offer.accept();
        failed = once(stream.resume(), 'error');
      },
      { onStream: (socket) => setImmediate(() => socket.terminate()) },
    );
    publish();
    await expect.poll(() => failed).toBeDefined();
    expect((await failed)?.[0]).toMatchObject({ code: 'stream_lost' });
  });

  it('rejected tells why', async () => {
    await attach((offer) => offer.reject('not today: ä'));
    publish();
    expect(await answer()).toBe('1: 400 not today: ä');
  });

  it.each(['accept', 'reject'] as const)('is answered once: %s', async (verb) => {
    const errors: unknown[] = [];
    await attach(async (offer) => {
      const stream = await offer[verb]();
      await offer.accept().catch((error: unknown) => errors.push(error));
      await offer.reject().catch((error: unknown) => errors.push(error));
      stream?.destroy();
    });
    publish();
    expect(await answer()).toBe(verb === 'accept' ? '1: 200' : '1: 400');
    await expect.poll(() => errors).toHaveLength(2);
    for (const error of errors)
      expect(error).toMatchObject({ code: 'argument_invalid', message: `The offer has already been ${verb}ed.` });
    expect(channel.unread).toBe(0);
  });

  it('is rejected when the callback throws, with the text of a CulvertError alone', async () => {
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const errors = [new CulvertError('target_unreachable', 'sshd is down'), new Error('secret'), 'string'];
    await attach((offer) => {
      if (errors.length === 3) {
        throw errors.shift();
      }
      return offer.name === 'echo' ? Promise.reject(errors.shift()) : undefined;
    });
    for (const rid of ['1', '2', '3']) publish(rid);
    expect([await answer(), await answer(), await answer()]).toEqual([
      '1: 400 sshd is down',
      '2: 400 The device failed to handle the offer.',
      '3: 400 The device failed to handle the offer.',
    ]);
    expect(warnings.mock.calls.map(([warning]) => String(warning))).toEqual(['Error: secret', 'Error: string']);
  });

  it('is rejected when the callback returns without an answer', async () => {
    await attach(() => undefined);
    publish();
    expect(await answer()).toBe('1: 400 The device did not answer the offer.');
  });

  it('expires after a minute', async () => {
    let late: Promise<unknown> | undefined;
    await attach(async (offer) => {
      await new Promise<void>((resolve) => clock.setTimer(60_000, resolve));
      late = offer.accept().catch((error: unknown) => error);
      await late;
    });
    const before = clock.timers;
    publish();
    await expect.poll(() => clock.timers).toBe(before + 2);
    await clock.advance(59_999);
    expect(late).toBeUndefined();
    await clock.advance(1);
    expect(await late).toMatchObject({ code: 'handshake_timeout' });
    expect(channel.unread).toBe(0);
  });

  it('is rejected when too many await their answer, and only then', async () => {
    const waiting: StreamOffer[] = [];
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    await attach(async (offer) => {
      waiting.push(offer);
      await released;
      await offer.reject('done');
    });
    for (let rid = 0; rid < 257; rid++) publish(`${rid}`);
    expect(await answer()).toBe('256: 400 too many offers');
    expect(waiting).toHaveLength(256);
    release();
    for (let rid = 0; rid < 256; rid++) expect(await answer()).toBe(`${rid}: 400 done`);
    publish('again');
    expect(await answer()).toBe('again: 400 done');
  });

  it('can no longer be accepted when its connection is gone', async () => {
    let outcome: Promise<unknown> | undefined;
    await attach(async (offer) => {
      await once(channel.socket, 'close');
      await expect.poll(() => device.state).not.toBe('attached');
      outcome = offer.accept().catch((error: unknown) => error);
    });
    const before = clock.timers;
    publish();
    await expect.poll(() => clock.timers).toBe(before + 1);
    channel.socket.terminate();
    await expect.poll(() => outcome).toBeDefined();
    expect(await outcome).toMatchObject({ code: 'withdrawn' });
  });
});

describe('cancelling accept()', () => {
  it('before it was sent leaves the offer to be rejected', async () => {
    await attach(async (offer) => {
      await offer.accept({ signal: AbortSignal.abort(new CulvertError('aborted', 'changed my mind')) });
    });
    publish();
    expect(await answer()).toBe('1: 400 changed my mind');
  });

  it('while the stream is dialled gives the reason', async () => {
    const cancel = new AbortController();
    const reason = new CulvertError('handshake_timeout', 'Enough.');
    let outcome: Promise<unknown> | undefined;
    await attach(
      async (offer) => {
        outcome = offer.accept({ signal: cancel.signal }).catch((error: unknown) => error);
        await outcome;
      },
      { onStreamHeld: () => cancel.abort(reason) },
    );
    publish();
    expect(await answer()).toBe('1: 200');
    expect(await outcome).toBe(reason);
  });
});

describe('the gateway of an offer', () => {
  const NAMES = { names: ['localhost', '*.gw.invalid'], addresses: ['127.0.0.1'] };

  /** Offers a stream whose gateway is `host`. Returns the device's answer and the result of `accept()`. */
  async function offered(host: string, path = `/bridges/${STREAM_ID}/device`, gateways: string[] = []) {
    let accepted: Promise<unknown> | undefined;
    hub = await ScriptedHub.start({ certificate: NAMES });
    clock = new FakeClock();
    device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1'), {
      onStream: async (offer) => {
        accepted = offer.accept();
        await accepted.catch(() => undefined);
      },
      outbound: { ca: hub.ca, gateways },
      clock,
      keepaliveSeconds: 1_800,
    });
    const opened = device.open();
    channel = await hub.channel();
    await channel.welcome();
    await opened;
    const url = `wss://${host}${path}`;
    channel.publish(formatOfferTopic({ streamName: 'echo', requestId: '1', url, token: 'the-grant' }), {});
    const said = await answer();
    const error: unknown = await accepted?.catch((reason: unknown) => reason);
    return { said, code: error instanceof CulvertError ? error.code : undefined };
  }

  it('that is another host is refused: nothing is dialled, and the service is told why', async () => {
    const otherServer = createServer();
    let came = 0;
    otherServer.on('connection', (socket) => {
      came++;
      socket.destroy();
    });
    await new Promise<void>((resolve) => otherServer.listen(0, '127.0.0.2', resolve));
    const { port } = otherServer.address() as AddressInfo;
    const { said, code } = await offered(`127.0.0.2:${port}`);
    expect(said).toMatch(/^1: 400 The hub names 127\.0\.0\.2:\d+ as its gateway.*--gateway/);
    expect(code).toBe('untrusted');
    expect(came).toBe(0);
    await new Promise((resolve) => otherServer.close(resolve));
  });

  it('is dialled where it is listed', async () => {
    const { said, code } = await offered('127.0.0.2:1', undefined, ['127.0.0.2']);
    expect(said).toBe('1: 200');
    expect(code).toBe('unreachable');
  });

  it('is dialled where the hub’s verified certificate names it; what fails before the connection is under way rejects the offer', async () => {
    const { said, code } = await offered('eu1.gw.invalid');
    expect(said).toMatch(/^1: 400 eu1\.gw\.invalid:443 could not be reached/);
    expect(code).toBe('unreachable');
  });

  it('is dialled on the path of a grant alone', async () => {
    const { said } = await offered('127.0.0.1:1', '/admin');
    expect(said).toMatch(/^1: 400 The hub sent an address that is no gateway's/);
  });

  it('must be a host or a pattern where it is listed', () => {
    const options = { onStream: () => undefined, outbound: { gateways: ['https://x'] } };
    const text = 'HostName=localhost;DeviceId=d;SharedAccessKey=c2VjcmV0';
    expect(() => DeviceClient.fromConnectionString(text, options)).toThrow(/gateways: 'https:\/\/x' is not HOST/);
  });
});
