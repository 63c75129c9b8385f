import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import * as tls from 'node:tls';
import {
  type AuthenticationInput,
  formatAuthority,
  type Identity,
  identityName,
  identityPath,
} from '@culvert/protocol';
import { dialStream } from '@culvert/stream';
import {
  amqpTransport,
  CERTIFICATE_HOST,
  type DeviceCertificate,
  type DeviceProof,
  type DeviceUnderTest,
  deviceCertificate,
  MqttDevice,
  mqttTransport,
  SERVER_AUTHENTICATION,
  startHub,
  type TestAuthority,
  type TestHub,
  testAuthority,
} from '@culvert/testkit';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const HOUR = 3_600_000;

let hub: TestHub;
let root: TestAuthority;
let issuing: TestAuthority;
beforeAll(async () => {
  hub = await startHub({
    config: {
      mqttListen: '127.0.0.1:0',
      amqpListen: '127.0.0.1:0',
      advertise: ['127.0.0.1', CERTIFICATE_HOST],
      clientCertificates: ['mqttListen', 'amqpListen', CERTIFICATE_HOST],
    },
  });
  root = await testAuthority('Root');
  issuing = await testAuthority('Issuing', { issuer: root });
});
afterAll(() => hub.stop());

let tests = 0;
let deviceId: string;
beforeEach(async () => {
  deviceId = `d${++tests}`;
  await hub.owner.authorities.add('root', root.certificate);
});
afterEach(async () => {
  for (const { name } of await hub.owner.authorities.list()) await hub.owner.authorities.remove(name);
});

const thumbprints = (primaryThumbprint: string, secondaryThumbprint = ''): AuthenticationInput => ({
  type: 'selfSigned',
  x509Thumbprint: { primaryThumbprint, secondaryThumbprint },
});
const BY_AUTHORITY: AuthenticationInput = { type: 'certificateAuthority' };

/** The credential of a device that presents this certificate at a host that requests one. */
const shown = ({ cert, key }: DeviceCertificate): DeviceProof => ({
  certificate: { cert, key, servername: CERTIFICATE_HOST },
});

describe.each([
  mqttTransport('TLS', 5),
  mqttTransport('WebSocket', 5),
  amqpTransport('TLS'),
  amqpTransport('WebSocket'),
])('X.509 over $name', (transport) => {
  const attached: DeviceUnderTest[] = [];
  afterEach(() => {
    for (const device of attached.splice(0)) device.drop();
  });

  async function attach(proof: DeviceProof, identity: Identity = { deviceId }): Promise<DeviceUnderTest> {
    const device = await transport.attach(hub, identity, proof);
    attached.push(device);
    return device;
  }

  /** Attaches a device that the hub must refuse, and returns the detail of the hub's event. */
  async function refusal(proof: DeviceProof, identity: Identity = { deviceId }): Promise<string> {
    const seen = hub.events.length;
    await expect(attach(proof, identity)).rejects.toMatchObject({ code: 'unauthorized' });
    const event = await hub.event(
      'connection-refused',
      (refused) => hub.events.indexOf(refused) >= seen && refused.listener !== 'tls',
    );
    return event.detail;
  }

  describe('a device is let in', () => {
    it.each([
      ['primary SHA-1', ({ sha1 }: DeviceCertificate) => thumbprints(sha1)],
      ['primary SHA-256', ({ sha256 }: DeviceCertificate) => thumbprints(sha256)],
      ['secondary SHA-1', ({ sha1 }: DeviceCertificate) => thumbprints('A'.repeat(40), sha1)],
      ['secondary SHA-256', ({ sha256 }: DeviceCertificate) => thumbprints('A'.repeat(64), sha256)],
      [
        'thumbprint as tools print it',
        ({ sha1 }: DeviceCertificate) => thumbprints(sha1.toLowerCase().replace(/..(?=.)/g, '$&:')),
      ],
    ])('by its %s', async (_what, authentication) => {
      const certificate = await deviceCertificate('anything');
      await hub.owner.devices.create(deviceId, { authentication: authentication(certificate) });
      await attach(shown(certificate));
      expect(await hub.event('device-attached', (event) => event.deviceId === deviceId)).toMatchObject({
        principal: `device:${deviceId}`,
      });
    });

    it('by its authority, directly or through one that it sends along', async () => {
      await hub.owner.devices.create(deviceId, { authentication: BY_AUTHORITY });
      await attach(shown(await deviceCertificate(deviceId, { authority: root })));
      await attach(shown(await deviceCertificate(deviceId, { authority: issuing })));
    });

    it('as a module, by a certificate for DEVICE/MODULE', async () => {
      await hub.owner.devices.create(deviceId);
      await hub.owner.modules.create(deviceId, 'm1', { authentication: BY_AUTHORITY });
      const identity = { deviceId, moduleId: 'm1' };
      await attach(shown(await deviceCertificate(identityName(identity), { authority: issuing })), identity);
      const ofDevice = await deviceCertificate(deviceId, { authority: issuing });
      expect(await refusal(shown(ofDevice), identity)).toMatch(/common name is not DEVICE\/MODULE/);
    });

    it('by its token, where it shows a certificate besides', async () => {
      const { authentication } = await hub.owner.devices.create(deviceId);
      const token = tokenOf({ deviceId }, authentication.symmetricKey.primaryKey ?? '');
      await attach({ token, ...shown(await deviceCertificate(deviceId)) });
    });
  });

  describe('a device is refused', () => {
    it.each<[string, () => Promise<DeviceCertificate>, RegExp]>([
      ['another common name', () => deviceCertificate('other', { authority: root }), /common name/],
      ['an expired one', () => deviceCertificate(deviceId, { authority: root, notAfter: ago(1_000) }), /has expired/],
      [
        'one of tomorrow',
        () => deviceCertificate(deviceId, { authority: root, notBefore: ago(-HOUR) }),
        /not valid yet/,
      ],
      ['no extended key usage', () => deviceCertificate(deviceId, { authority: root, usages: [] }), /client auth/],
      [
        'one for servers',
        () => deviceCertificate(deviceId, { authority: root, usages: [SERVER_AUTHENTICATION] }),
        /client auth/,
      ],
      [
        'one signed by a certificate that is no authority',
        async () => deviceCertificate(deviceId, { authority: await testAuthority('x', { issuer: root, ca: false }) }),
        /no registered certificate authority/,
      ],
      [
        'one of an authority nobody registered',
        async () => deviceCertificate(deviceId, { authority: await testAuthority('Root') }),
        /no registered certificate authority/,
      ],
      ['one signed by itself', () => deviceCertificate(deviceId), /no registered certificate authority/],
    ])('by authority, with %s', async (_what, make, detail) => {
      await hub.owner.devices.create(deviceId, { authentication: BY_AUTHORITY });
      expect(await refusal(shown(await make()))).toMatch(detail);
    });

    it('by another thumbprint, an expired certificate, and one for servers', async () => {
      const certificate = await deviceCertificate(deviceId);
      const expired = await deviceCertificate(deviceId, { notAfter: ago(1_000) });
      const server = await deviceCertificate(deviceId, { usages: [SERVER_AUTHENTICATION] });
      await hub.owner.devices.create(deviceId, { authentication: thumbprints(expired.sha256, server.sha1) });
      expect(await refusal(shown(certificate))).toMatch(/^The certificate is not registered/);
      expect(await refusal(shown(expired))).toMatch(/has expired/);
      expect(await refusal(shown(server))).toMatch(/client auth/);
    });

    it('with a certificate where a key is registered, or nothing', async () => {
      const certificate = await deviceCertificate(deviceId, { authority: root });
      await hub.owner.devices.create(deviceId);
      expect(await refusal(shown(certificate))).toMatch(/^The credential was not accepted/);
      await hub.owner.devices.update({ deviceId, authentication: { type: 'none' } });
      expect(await refusal(shown(certificate))).toMatch(/^The credential was not accepted/);
      // The message is the same for a device that does not exist, so it does not reveal which devices exist.
      const ofNobody = await deviceCertificate('nobody', { authority: root });
      expect(await refusal(shown(ofNobody), { deviceId: 'nobody' })).toMatch(/^The credential was not accepted/);
    });

    it('without a certificate', async () => {
      await hub.owner.devices.create(deviceId, { authentication: BY_AUTHORITY });
      expect(await refusal({})).toMatch(/^Neither a token nor a certificate was shown/);
    });

    it('with a token of a key it no longer has, or never had', async () => {
      const { authentication } = await hub.owner.devices.create(deviceId);
      const { primaryKey } = authentication.symmetricKey;
      const certificate = await deviceCertificate(deviceId);
      await hub.owner.devices.update({ deviceId, authentication: thumbprints(certificate.sha256) });
      for (const key of [primaryKey ?? '', '', certificate.sha256]) {
        const token = tokenOf({ deviceId }, key);
        expect(await refusal({ token })).toMatch(/^The credential was not accepted/);
        // If a device presents a token, only the token counts, even if it also presents a valid certificate.
        expect(await refusal({ token, ...shown(certificate) })).toMatch(/^The credential was not accepted/);
      }
      await attach(shown(certificate));
    });

    it('when it is disabled', async () => {
      const certificate = await deviceCertificate(deviceId);
      const authentication = thumbprints(certificate.sha256);
      await hub.owner.devices.create(deviceId, { authentication, status: 'disabled' });
      expect(await refusal(shown(certificate))).toMatch(/disabled/);
    });

    it('by an authority that only this process or this machine trusts', async () => {
      const trusted = tls.getCACertificates('default');
      const certificate = await deviceCertificate(deviceId, { authority: root });
      await hub.owner.authorities.remove('root');
      await hub.owner.devices.create(deviceId, { authentication: BY_AUTHORITY });
      tls.setDefaultCACertificates([...trusted, root.certificate]);
      try {
        expect(await refusal(shown(certificate))).toMatch(/no registered certificate authority/);
      } finally {
        tls.setDefaultCACertificates(trusted);
      }
    });
  });

  describe('a device loses channel and streams', () => {
    /** Attaches a device and opens a stream to it. */
    async function streaming(authentication: AuthenticationInput, certificate: DeviceCertificate) {
      await hub.owner.devices.create(deviceId, { authentication });
      const device = await attach(shown(certificate));
      const opening = hub.owner.openStream(deviceId, { name: 'ssh' });
      const offer = await device.nextOffer();
      device.answer({ requestId: offer.requestId, accepted: true });
      const far = await dialStream(offer.grant, { outbound: hub.outbound });
      const near = await opening;
      far.on('error', () => undefined);
      near.write('hello');
      await once(far, 'data');
      return { device, streamEnded: once(near, 'error') };
    }

    async function expectLost({ device, streamEnded }: Awaited<ReturnType<typeof streaming>>) {
      const detached = await hub.event('device-detached', (event) => event.deviceId === deviceId);
      const [error] = await streamEnded;
      await device.told;
      expect([detached.error, (error as { code?: string }).code]).toEqual(['revoked', 'revoked']);
    }

    it.each<[string, () => Promise<unknown>]>([
      ['is disabled', () => hub.owner.devices.update({ deviceId, status: 'disabled' })],
      ['has another thumbprint', () => update(thumbprints('A'.repeat(40), 'B'.repeat(64)))],
      ['is to show a certificate of an authority', () => update(BY_AUTHORITY)],
      ['is to have a key', () => update({ type: 'sas' })],
      ['is deleted', () => hub.owner.devices.delete(deviceId)],
    ])('when it %s', async (_what, change) => {
      const certificate = await deviceCertificate(deviceId);
      const running = await streaming(thumbprints(certificate.sha1), certificate);
      await change();
      await expectLost(running);
    });

    it.each<[string, () => Promise<unknown>]>([
      ['removed', () => hub.owner.authorities.remove('root')],
      ['replaced', async () => hub.owner.authorities.add('root', (await testAuthority('Root')).certificate)],
    ])('when its authority is %s', async (_what, change) => {
      const running = await streaming(BY_AUTHORITY, await deviceCertificate(deviceId, { authority: issuing }));
      await change();
      await expectLost(running);
    });

    it('and not when the change is somebody else’s, or what it stands on stays', async () => {
      const certificate = await deviceCertificate(deviceId);
      await hub.owner.devices.create(deviceId, { authentication: thumbprints(certificate.sha1) });
      const byThumbprint = await attach(shown(certificate));
      const other = `${deviceId}-ca`;
      await hub.owner.devices.create(other, { authentication: BY_AUTHORITY });
      const byAuthority = await attach(shown(await deviceCertificate(other, { authority: root })), { deviceId: other });
      // The same authority is registered under two names, so one of them can be removed.
      await hub.owner.authorities.add('root-again', root.certificate);
      await hub.owner.authorities.remove('root');
      await hub.owner.authorities.add('other', (await testAuthority('Other')).certificate);
      await hub.owner.authorities.remove('other');
      // The certificate stays registered, now by its SHA-256 thumbprint as the secondary one.
      await update(thumbprints('', certificate.sha256));
      for (const [id, device] of [
        [deviceId, byThumbprint],
        [other, byAuthority],
      ] as const) {
        const opening = hub.owner.openStream(id, { name: 'still-there' });
        device.answer({ requestId: (await device.nextOffer()).requestId, accepted: false });
        await expect(opening).rejects.toMatchObject({ code: 'rejected' });
      }
    });
  });

  const update = (authentication: AuthenticationInput) => hub.owner.devices.update({ deviceId, authentication });
});

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('a device that comes again over %s', (maxVersion) => {
  /** Connects as the device, resuming the TLS session if one is given. Returns the hub's answer and the newest session. */
  async function connect(certificate: DeviceCertificate, session?: Buffer) {
    const { cert, key } = certificate;
    const port = hub.hub.mqttAddress?.port ?? 0;
    const options = { host: '127.0.0.1', port, ca: hub.ca, servername: CERTIFICATE_HOST, maxVersion, cert, key };
    const socket = tls.connect({ ...options, ...(session && { session }) });
    const sessions: Buffer[] = [];
    socket.on('session', (ticket: Buffer) => sessions.push(ticket));
    const device = new MqttDevice(socket, 5);
    const { reasonCode } = await device.connect(deviceId, { password: Buffer.alloc(0) });
    const newest = sessions.at(-1) ?? socket.getSession();
    const answer = { reasonCode, resumed: socket.isSessionReused(), session: newest };
    socket.destroy();
    return answer;
  }

  it.each<[string, AuthenticationInput['type'], () => Promise<unknown>]>([
    ['was disabled', 'selfSigned', () => hub.owner.devices.update({ deviceId, status: 'disabled' })],
    [
      'has another thumbprint',
      'selfSigned',
      () => hub.owner.devices.update({ deviceId, authentication: thumbprints('A'.repeat(40)) }),
    ],
    ['lost its authority', 'certificateAuthority', () => hub.owner.authorities.remove('root')],
  ])('and %s meanwhile is refused, whatever session it brings', async (_what, type, change) => {
    const certificate = await deviceCertificate(deviceId, { authority: root });
    const authentication = type === 'selfSigned' ? thumbprints(certificate.sha256) : BY_AUTHORITY;
    await hub.owner.devices.create(deviceId, { authentication });
    const first = await connect(certificate);
    expect(first.reasonCode).toBe(0);
    expect(first.session).toBeInstanceOf(Buffer);
    const again = await connect(certificate, first.session);
    expect(again).toMatchObject({ reasonCode: 0, resumed: false });
    await change();
    expect(await connect(certificate, again.session)).toMatchObject({ reasonCode: 0x87, resumed: false });
  });
});

/** Creates a token. It is signed here because the SDK's signer does not accept an empty key. */
function tokenOf(identity: Identity, key: string): string {
  const audience = `${formatAuthority(hub.hostName, hub.port)}/${identityPath(identity)}`;
  const expiry = Math.floor(Date.now() / 1_000) + 600;
  const signature = createHmac('sha256', Buffer.from(key, 'base64')).update(`${audience}\n${expiry}`).digest('base64');
  return `SharedAccessSignature sr=${audience}&sig=${encodeURIComponent(signature)}&se=${expiry}`;
}

function ago(ms: number): Date {
  return new Date(Date.now() - ms);
}
