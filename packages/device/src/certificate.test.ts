import { once } from 'node:events';
import { formatOfferTopic } from '@culvert/protocol';
import {
  ConnectProxy,
  type DeviceCertificate,
  deviceCertificate,
  FakeClock,
  ScriptedHub,
  shownCertificate,
} from '@culvert/testkit';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient, type DeviceClientOptions } from './device-client.ts';

let certificate: DeviceCertificate;
let hub: ScriptedHub;
let clock: FakeClock;
let device: DeviceClient;
/** SHA-256 of the client certificate of each connection to the gateway; undefined for none. */
let shownToGateway: (string | undefined)[];

beforeAll(async () => {
  certificate = await deviceCertificate('d1');
});
beforeEach(async () => {
  clock = new FakeClock();
  shownToGateway = [];
  hub = await ScriptedHub.start({
    requestCertificate: true,
    onStream: (socket, request) => {
      shownToGateway.push(shownCertificate(request.socket));
      socket.on('message', (data) => socket.send(data));
    },
  });
});
afterEach(async () => {
  await device.close();
  await hub.stop();
});

function client(options: Partial<DeviceClientOptions> = {}): DeviceClient {
  device = DeviceClient.fromConnectionString(hub.deviceConnectionString('d1', 'x509=true'), {
    onStream: (offer) => offer.reject(),
    outbound: { ca: hub.ca, proxy: false },
    certificate,
    clock,
    random: () => 0.5,
    ...options,
  });
  return device;
}

describe('a device with a certificate', () => {
  it('shows it to the hub, and no password', async () => {
    const opened = client().open();
    const channel = await hub.channel();
    const connect = await channel.welcome();
    await opened;
    expect(channel.certificate).toBe(certificate.sha256);
    expect(connect).toMatchObject({ clientId: 'd1', username: expect.stringMatching(/^127\.0\.0\.1:\d+\/d1\/\?/) });
    expect(connect.password).toBeUndefined();
  });

  it('shows it through a proxy, and to no gateway', async () => {
    const proxy = await ConnectProxy.start();
    let echoed: unknown;
    const opened = client({
      outbound: { ca: hub.ca, proxy: proxy.url },
      onStream: async (offer) => {
        const stream = await offer.accept();
        stream.write('through');
        [echoed] = await once(stream, 'data');
        stream.destroy();
      },
    }).open();
    const channel = await hub.channel();
    await channel.welcome();
    await opened;
    const url = hub.streamUrl('ab'.repeat(16), 'device');
    channel.publish(formatOfferTopic({ streamName: 'echo', requestId: '1', url, token: 'grant' }));
    await expect.poll(() => String(echoed)).toBe('through');
    expect([channel.certificate, shownToGateway]).toEqual([certificate.sha256, [undefined]]);
    await proxy.stop();
  });

  it('has nothing to renew, and comes back when the hub ends its channel', async () => {
    const told: string[] = [];
    const opened = client({
      tokenLifetimeSeconds: 600,
      keepaliveSeconds: 1_800,
      onStateChange: (state, error) => told.push(error === undefined ? state : `${state} ${error.code}`),
    }).open();
    const channel = await hub.channel();
    await channel.welcome();
    await opened;
    // A token with this test's lifetime would have been renewed by now.
    await clock.advance(1_000_000);
    expect(hub.unclaimedChannels).toBe(0);
    channel.disconnect(0x87, 'The certificate has expired.');
    await expect.poll(() => device.state).toBe('waiting');
    await clock.advance(5_000);
    const next = await hub.channel();
    await next.welcome();
    await expect.poll(() => device.state).toBe('attached');
    expect(next.certificate).toBe(certificate.sha256);
    expect(told).toEqual(['connecting', 'attached', 'waiting unauthorized', 'connecting', 'attached']);
  });

  it('is closed for good when the hub does not take it', async () => {
    const opened = client().open();
    await (await hub.channel()).refuse(0x87, 'No registered certificate authority vouches for the certificate.');
    await expect(opened).rejects.toMatchObject({ code: 'unauthorized', message: expect.stringContaining('vouches') });
    expect(device.state).toBe('closed');
  });

  it('is told before it dials that the certificate cannot be used', async () => {
    const { key } = await deviceCertificate('d2');
    await expect(client({ certificate: { cert: certificate.cert, key } }).open()).rejects.toMatchObject({
      code: 'config_invalid',
    });
    expect(hub.connections).toBe(0);
  });
});

describe('a certificate and a connection string', () => {
  it.each<[string, boolean, RegExp]>([
    ['x509=true', false, /^The connection string says x509=true, but no certificate was given\.$/],
    [`SharedAccessKey=${'A'.repeat(43)}=`, true, /^A certificate was given, but the connection string says/],
    ['SharedAccessSignature=SharedAccessSignature sr=x&sig=x&se=1', true, /^A certificate was given, but/],
  ])('must agree: %s, %s', (credential, given, message) => {
    client();
    const make = () =>
      DeviceClient.fromConnectionString(hub.deviceConnectionString('d1', credential), {
        onStream: () => undefined,
        ...(given ? { certificate } : {}),
      });
    expect(make).toThrow(
      expect.objectContaining({ code: 'argument_invalid', message: expect.stringMatching(message) }),
    );
  });
});
