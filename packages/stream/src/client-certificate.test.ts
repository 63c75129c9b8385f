import { createPrivateKey } from 'node:crypto';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { inspect } from 'node:util';
import {
  ConnectProxy,
  type DeviceCertificate,
  deviceCertificate,
  shownCertificate,
  type TestCertificate,
  type TlsWebSocketServer,
  testCertificate,
  tlsWebSocketServer,
} from '@culvert/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ClientCertificate } from './client-certificate.ts';
import { dialDuplex, dialStream } from './dial.ts';
import type { OutboundOptions } from './outbound.ts';

let server: TestCertificate;
let device: DeviceCertificate;
let hub: TlsWebSocketServer;
let httpProxy: ConnectProxy;
let tlsProxy: Server;
/** SHA-256 of each WebSocket's client certificate; undefined for none. */
const shown: (string | undefined)[] = [];
/** SHA-256 of the client certificate of each connection to the HTTPS proxy; undefined for none. */
const shownToProxy: (string | undefined)[] = [];

beforeAll(async () => {
  server = await testCertificate();
  device = await deviceCertificate('press-7');
  hub = await tlsWebSocketServer({
    certificate: server,
    requestCertificate: true,
    onSocket: (socket, request) => {
      shown.push(shownCertificate(request.socket));
      socket.close(1000);
    },
  });
  httpProxy = await ConnectProxy.start();
  tlsProxy = createServer({ cert: server.cert, key: server.key, requestCert: true, rejectUnauthorized: false });
  tlsProxy.on('connect', (_request, client: Duplex) => {
    shownToProxy.push(shownCertificate(client));
    const target = connect(hub.port, '127.0.0.1', () => client.write('HTTP/1.1 200 OK\r\n\r\n'));
    client.on('error', () => target.destroy()).pipe(target);
    target.on('error', () => client.destroy()).pipe(client);
  });
  await new Promise<void>((resolve) => tlsProxy.listen(0, '127.0.0.1', resolve));
});
afterAll(async () => {
  await hub.close();
  await httpProxy.stop();
  tlsProxy.closeAllConnections();
  tlsProxy.close();
});
beforeEach(() => {
  shown.length = 0;
  shownToProxy.length = 0;
});

async function dialled(certificate: ClientCertificate, outbound: OutboundOptions = {}): Promise<void> {
  const stream = await dialDuplex(hub.url, { certificate, outbound: { ca: server.ca, proxy: false, ...outbound } });
  stream.destroy();
}

describe('a client certificate', () => {
  it('is shown to the server that asks for one', async () => {
    await dialled(device);
    expect(shown).toEqual([device.sha256]);
  });

  it('is shown through an HTTP proxy to the server', async () => {
    await dialled(device, { proxy: httpProxy.url });
    expect(shown).toEqual([device.sha256]);
    expect(httpProxy.targets).toEqual([`127.0.0.1:${hub.port}`]);
  });

  it('is not shown to a proxy, though that asks for one', async () => {
    await dialled(device, { proxy: `https://localhost:${(tlsProxy.address() as AddressInfo).port}` });
    expect([shown, shownToProxy]).toEqual([[device.sha256], [undefined]]);
  });

  it('does not make an unknown server trusted', async () => {
    const { ca } = await testCertificate();
    await expect(dialled(device, { ca })).rejects.toMatchObject({ code: 'untrusted' });
    const byDefault = dialDuplex(hub.url, { certificate: device, outbound: { proxy: false } });
    await expect(byDefault).rejects.toMatchObject({ code: 'untrusted' });
  });

  it('is no part of what a grant is taken to a gateway with', async () => {
    const grant = { url: `${hub.url}/bridges/x`, token: 'x' };
    // A caller that does not use TypeScript could pass this.
    const options = { outbound: { ca: server.ca, proxy: false as const }, certificate: device };
    const stream = await dialStream(grant, options);
    expect(shown).toEqual([undefined]);
    stream.destroy();
  });
});

describe('a client certificate that cannot be used', () => {
  const encrypted = (passphrase: string) =>
    createPrivateKey(device.key).export({ type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase }).toString();
  const junk = '-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n';

  it.each<[string, () => ClientCertificate | Promise<ClientCertificate>, RegExp]>([
    ['no PEM', () => ({ ...device, cert: 'x' }), /^The client certificate cannot be read: it must be in PEM form/],
    ['a key that is none', () => ({ ...device, key: junk }), /^The private key of .* must be in PEM form/],
    ['an encrypted key', () => ({ ...device, key: encrypted('secret') }), /is encrypted, and there is no passphrase/],
    [
      'another passphrase',
      () => ({ ...device, key: encrypted('secret'), passphrase: 'other' }),
      /^The passphrase does not open the private key/,
    ],
    [
      'the key to another',
      async () => ({ ...device, key: (await deviceCertificate('press-8')).key }),
      /^The private key is not the one to the client certificate\.$/,
    ],
  ])('is told in one line: %s', async (_what, make, message) => {
    const failed: unknown = await dialled(await make()).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 'config_invalid', message: expect.stringMatching(message) });
    expect((failed as Error).message).not.toContain('\n');
    expect(inspect(failed, { depth: 9 })).not.toMatch(/c2VjcmV0|secret/);
  });

  it('but an encrypted key with its passphrase can be', async () => {
    await dialled({ cert: device.cert, key: encrypted('secret'), passphrase: 'secret' });
    expect(shown).toEqual([device.sha256]);
  });
});
