import { X509Certificate } from 'node:crypto';
import { DeviceClient } from '@culvert/device';
import {
  deviceCertificate,
  deviceCertificateOf,
  RestCaller,
  type RestReply,
  SERVER_AUTHENTICATION,
  startHub,
  type TestAuthority,
  type TestHub,
  testAuthority,
} from '@culvert/testkit';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';

let hub: TestHub;
let rest: RestCaller;
let plant: TestAuthority;

beforeAll(async () => {
  hub = await startHub();
  rest = new RestCaller(hub);
  plant = await testAuthority('Plant 7');
});
afterAll(() => hub.stop());
afterEach(async () => {
  for (const { name } of await hub.owner.authorities.list()) await hub.owner.authorities.remove(name);
});

const BASE = '/certificate-authorities';
const put = (name: string, body: unknown, policy = 'registryReadWrite') =>
  rest.call('PUT', `${BASE}/${name}`, { body, policy });

/** Status and code of an RFC 9457 problem document. */
function problem({ status, headers, body }: RestReply): [number, string] {
  expect(headers['content-type']).toBe('application/problem+json; charset=utf-8');
  return [status, JSON.parse(body).code];
}

describe('certificate authorities', () => {
  it('are added, shown, replaced and removed', async () => {
    const added = await put('plant-7', { certificate: plant.certificate });
    expect(added.status).toBe(200);
    const view = JSON.parse(added.body);
    const { fingerprint256, validTo } = new X509Certificate(plant.certificate);
    expect(view).toEqual({
      name: 'plant-7',
      subject: 'CN=Plant 7',
      thumbprint: fingerprint256.replaceAll(':', ''),
      notBefore: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.000Z$/),
      notAfter: new Date(validTo).toISOString(),
      certificate: expect.stringMatching(/^-----BEGIN CERTIFICATE-----\n[\s\S]*-----END CERTIFICATE-----\n$/),
    });
    expect(JSON.parse((await rest.call('GET', `${BASE}/plant-7`, { policy: 'registryRead' })).body)).toEqual(view);

    const newer = await testAuthority('Plant 7 of 2027');
    await put('plant-7', { certificate: newer.certificate });
    await put('a', { certificate: plant.certificate });
    const { authorities } = JSON.parse((await rest.call('GET', `${BASE}?api-version=x`)).body);
    expect(authorities.map(({ name, subject }: { name: string; subject: string }) => [name, subject])).toEqual([
      ['a', 'CN=Plant 7'],
      ['plant-7', expect.stringContaining('2027')],
    ]);

    expect((await rest.call('DELETE', `${BASE}/plant-7`)).status).toBe(204);
    expect(problem(await rest.call('GET', `${BASE}/plant-7`))).toEqual([404, 'authority_not_found']);
    expect(problem(await rest.call('DELETE', `${BASE}/plant-7`))).toEqual([404, 'authority_not_found']);
    const changes = hub.events.filter((event) => event.type === 'authority-changed');
    expect(changes.map(({ change, authority }) => `${change} ${authority}`)).toEqual([
      'added plant-7',
      'added plant-7',
      'added a',
      'removed plant-7',
    ]);
  });

  it('are fifty at most', async () => {
    const { certificate } = plant;
    for (let index = 0; index < 50; index++) expect((await put(`a${index}`, { certificate })).status).toBe(200);
    expect(problem(await put('a50', { certificate }))).toEqual([403, 'limit_reached']);
    // Replacing an authority does not increase the number.
    expect((await put('a7', { certificate })).status).toBe(200);
  });

  it.each(['.', '..', 'a%2Fb', 'a%20b', '%C3%A4', 'x'.repeat(65)])('are not called %s', async (name) => {
    expect(problem(await put(name, { certificate: plant.certificate }))).toEqual([400, 'argument_invalid']);
    expect(problem(await rest.call('GET', `${BASE}/${name}`))).toEqual([400, 'argument_invalid']);
    expect(problem(await rest.call('DELETE', `${BASE}/${name}`))).toEqual([400, 'argument_invalid']);
  });

  const damaged = () => plant.certificate.replace(/\n[A-Za-z0-9+/]{4}/, '\nAAAA');
  it.each<[string, () => unknown, RegExp]>([
    ['nothing', () => undefined, /./],
    ['no JSON', () => 'x', /The body is not JSON\./],
    ['no certificate', () => ({}), /certificate/],
    ['something else besides', () => ({ certificate: plant.certificate, name: 'x' }), /name/],
    ['text', () => ({ certificate: 'x' }), /One certificate in PEM form is wanted/],
    ['base64 that is no certificate', () => ({ certificate: damaged() }), /The certificate cannot be read\./],
    ['two', () => ({ certificate: plant.certificate.repeat(2) }), /One certificate in PEM form is wanted/],
    ['more than 16 KiB', () => ({ certificate: `${plant.certificate}${'x'.repeat(16_384)}` }), /certificate/],
    [
      'a device’s',
      async () => ({ certificate: (await deviceCertificate('d', { authority: plant })).cert }),
      /not that of an authority/,
    ],
    [
      'one for servers',
      async () => ({ certificate: (await testAuthority('s', { usages: [SERVER_AUTHENTICATION] })).certificate }),
      /for other uses than client authentication/,
    ],
    [
      'one that has expired',
      async () => ({ certificate: (await testAuthority('old', pastYear())).certificate }),
      /^The certificate expired on /,
    ],
    ['a private key', async () => ({ certificate: (await deviceCertificate('d')).key }), /One certificate in PEM form/],
  ])('are not %s', async (_what, make, detail) => {
    const answer = await put('x', await make());
    expect(problem(answer)).toEqual([400, 'argument_invalid']);
    expect(JSON.parse(answer.body).detail).toMatch(detail);
    expect(answer.body).not.toContain('PRIVATE');
    expect(await hub.owner.authorities.list()).toEqual([]);
  });

  it('may come with text around the certificate, which is not kept', async () => {
    const certificate = `Plant 7, see the intranet\n${plant.certificate}\nnot for sale`;
    const { body } = await put('x', { certificate });
    expect(JSON.parse(body).certificate.replaceAll('\n', '')).toBe(plant.certificate.replaceAll('\n', ''));
  });

  it('may be without a name', async () => {
    const nameless = await deviceCertificateOf([], { ca: true });
    const { status, body } = await put('x', { certificate: nameless.cert });
    expect([status, JSON.parse(body).subject]).toEqual([200, '']);
  });

  it.each([
    ['registryRead', 'PUT', 401],
    ['registryRead', 'DELETE', 401],
    ['registryRead', 'GET', 200],
    ['service', 'GET', 401],
    ['device', 'GET', 401],
    ['iothubowner', 'DELETE', 204],
  ])('are open to the policy %s for %s: %i', async (policy, method, status) => {
    await put('x', { certificate: plant.certificate });
    const body = method === 'PUT' ? { body: { certificate: plant.certificate } } : {};
    expect((await rest.call(method, `${BASE}/x`, { policy, ...body })).status).toBe(status);
  });
});

it('a device with a certificate is told so where none is asked for', async () => {
  await hub.owner.devices.create('d', { authentication: { type: 'certificateAuthority' } });
  await hub.owner.authorities.add('plant-7', plant.certificate);
  const device = DeviceClient.fromConnectionString(`HostName=127.0.0.1:${hub.port};DeviceId=d;x509=true`, {
    onStream: () => undefined,
    certificate: await deviceCertificate('d', { authority: plant }),
    outbound: hub.outbound,
  });
  await expect(device.open()).rejects.toMatchObject({
    code: 'unauthorized',
    message: expect.stringMatching(/^Neither a token nor a certificate was shown.*clientCertificates/),
  });
});

function pastYear(): { notBefore: Date; notAfter: Date } {
  const day = 86_400_000;
  return { notBefore: new Date(Date.now() - 365 * day), notAfter: new Date(Date.now() - day) };
}
