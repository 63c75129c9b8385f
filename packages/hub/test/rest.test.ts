import { DeviceClient } from '@culvert/device';
import { azureError, type RestCall, RestCaller, type RestReply, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let test: TestHub;
let rest: RestCaller;

beforeAll(async () => {
  test = await startHub();
  rest = new RestCaller(test);
});
afterAll(() => test.stop());

const call = (method: string, path: string, options?: RestCall) => rest.call(method, path, options);
const token = (...args: Parameters<RestCaller['token']>) => rest.token(...args);
const azureCode = (answer: RestReply) => azureError(answer)[1];

describe('GET /', () => {
  it('says where the streaming endpoint is, to anybody', async () => {
    const { status, body } = await call('GET', '/', { authorization: 'nobody' });
    expect([status, JSON.parse(body)]).toEqual([
      200,
      {
        hostName: `127.0.0.1:${test.port}`,
        streamingEndpoints: [`https://127.0.0.1:${test.port}`],
        clientCertificates: [],
      },
    ]);
  });
});

describe('devices', () => {
  it('are created from an empty document, updated under an ETag, and deleted', async () => {
    const created = await call('PUT', '/devices/plain?api-version=2018-06-30', {
      body: JSON.stringify({
        deviceId: 'plain',
        authentication: { type: 'sas', symmetricKey: { primaryKey: '', secondaryKey: '' } },
      }),
    });
    expect(created.status).toBe(200);
    const device = JSON.parse(created.body);
    expect(Buffer.from(device.authentication.symmetricKey.primaryKey, 'base64').length).toBe(32);
    expect(created.headers.etag).toBe(`"${device.etag}"`);
    expect(device).toMatchObject({
      status: 'enabled',
      connectionState: 'Disconnected',
      connectionStateUpdatedTime: '0001-01-01T00:00:00',
    });

    const again = await call('PUT', '/devices/plain', { body: '{}' });
    expect([again.status, azureCode(again)]).toEqual([409, 409001]);

    const update = { ...device, status: 'disabled', statusReason: 'stolen' };
    const headers = { 'if-match': `"${device.etag}"` };
    const updated = await call('PUT', '/devices/plain', { headers, body: JSON.stringify(update) });
    expect(JSON.parse(updated.body)).toMatchObject({
      status: 'disabled',
      statusReason: 'stolen',
      generationId: device.generationId,
    });
    const stale = await call('PUT', '/devices/plain', { headers, body: JSON.stringify(update) });
    expect([stale.status, azureCode(stale)]).toEqual([412, 412001]);

    expect((await call('DELETE', '/devices/plain', { headers: { 'if-match': '"0"' } })).status).toBe(412);
    expect((await call('DELETE', '/devices/plain', { headers: { 'if-match': '*' } })).status).toBe(204);
    const gone = await call('GET', '/devices/plain');
    expect([gone.status, azureCode(gone), gone.headers['iothub-errorcode']]).toEqual([404, 404001, 'DeviceNotFound']);
  });

  it('may have ids of 128 characters with everything in them', async () => {
    const id = `-$(;'#?%+_*!,=@:.)${'x'.repeat(110)}`;
    expect(id.length).toBe(128);
    const path = `/devices/${encodeURIComponent(id)}`;
    expect(JSON.parse((await call('PUT', path, { body: '{}' })).body).deviceId).toBe(id);
    expect((await call('GET', path)).status).toBe(200);
    expect((await call('DELETE', path)).status).toBe(204);
  });

  it.each([
    ['/devices/%2e', '{}', 400],
    ['/devices/..%2f', '{}', 400],
    ['/devices/a%20b', '{}', 400],
    ['/devices/a%zz', '{}', 400],
    ['/devices/x;SharedAccessKey=', '{}', 400],
    ['/devices/x', '{"deviceId":"y"}', 400],
    ['/devices/x', '{"authentication":{"type":"selfSigned"}}', 400],
    ['/devices/x', '{"authentication":{"symmetricKey":{"primaryKey":"AAAA"}}}', 400],
    ['/devices/x', '{"status":"off"}', 400],
    ['/devices/x', 'not json', 400],
    ['/devices/x', JSON.stringify({ statusReason: 'x'.repeat(70_000) }), 413],
  ])('are not created at %s with %.60s', async (path, body, status) => {
    const answer = await call('PUT', path, { body });
    expect(answer.status).toBe(status);
    expect(azureCode(answer)).toBeGreaterThan(400_000);
  });

  it('are listed page by page in order, and counted', async () => {
    const ids = Array.from({ length: 25 }, (_, index) => `page-${String(index).padStart(2, '0')}`);
    for (const id of ids) await call('PUT', `/devices/${id}`, { body: '{}' });
    const seen: string[] = [];
    let continuation: string | undefined;
    do {
      const headers: Record<string, string> = continuation === undefined ? {} : { 'x-ms-continuation': continuation };
      const page = await call('GET', '/devices/?top=10&api-version=x', { headers, policy: 'registryRead' });
      expect(page.status).toBe(200);
      seen.push(...(JSON.parse(page.body) as { deviceId: string }[]).map(({ deviceId }) => deviceId));
      continuation = page.headers['x-ms-continuation'] as string | undefined;
    } while (continuation !== undefined);
    expect(seen).toEqual(ids);
    // A full last page has no continuation token.
    const whole = await call('GET', '/devices?top=25', { policy: 'registryRead' });
    expect([JSON.parse(whole.body).length, whole.headers['x-ms-continuation']]).toEqual([25, undefined]);
    expect(JSON.parse((await call('GET', '/statistics/devices')).body)).toMatchObject({ totalDeviceCount: 25 });
    expect((await call('GET', '/devices?top=0')).status).toBe(400);
    expect((await call('GET', '/devices', { headers: { 'x-ms-continuation': '!' } })).status).toBe(400);
  });
});

describe('credentials', () => {
  it.each([
    ['service', 'GET', '/devices/x', 401],
    ['registryRead', 'PUT', '/devices/x', 401],
    ['registryReadWrite', 'GET', '/policies', 401],
    ['device', 'GET', '/devices', 401],
    ['registryReadWrite', 'POST', '/twins/x/streams/s', 401],
    ['service', 'POST', '/policies/service/rotate', 401],
  ])('of %s do not allow %s %s', async (policy, method, path, status) => {
    expect((await call(method, path, { policy, ...(method === 'GET' ? {} : { body: '{}' }) })).status).toBe(status);
  });

  it.each([
    ['none', () => Promise.resolve('')],
    ['an expired token', () => token('iothubowner', { expiry: 1_000_000_000 })],
    ['a token of another hub', () => token('iothubowner', { audience: 'other.example' })],
    ['a token of another device', () => token('iothubowner', { audience: `127.0.0.1:${test.port}/devices/other` })],
    ['a bearer token', () => Promise.resolve('Bearer abc')],
    ['two spaces', async () => (await token('iothubowner')).replace(' ', '  ')],
    ['a changed signature', async () => (await token('iothubowner')).replace(/sig=./, 'sig=%2F')],
  ])('are refused: %s', async (_what, make) => {
    const answer = await call('GET', '/devices/x', { authorization: await make() });
    expect(answer.status).toBe(401);
    expect(answer.body).not.toContain('sig=');
  });

  it('of a device open nothing here', async () => {
    const { authentication } = await test.owner.devices.create('self');
    const authorization = await rest.ownToken({ deviceId: 'self' }, authentication.symmetricKey.primaryKey ?? '');
    expect((await call('GET', '/devices/self', { authorization })).status).toBe(401);
    await test.owner.devices.delete('self');
  });

  it('may be narrowed to one device, and need not name the port', async () => {
    await test.owner.devices.create('narrow');
    const narrow = await token('iothubowner', { audience: '127.0.0.1/devices/narrow' });
    expect((await call('GET', '/devices/narrow', { authorization: narrow })).status).toBe(200);
    expect((await call('GET', '/devices', { authorization: narrow })).status).toBe(401);
    await test.owner.devices.delete('narrow');
  });

  it('of a rotated policy are taken until the second rotation', async () => {
    const old = await token('registryRead');
    const rotate = () => call('POST', '/policies/registryRead/rotate');
    expect((await rotate()).status).toBe(200);
    expect((await call('GET', '/devices', { authorization: old })).status).toBe(200);
    await rotate();
    expect((await call('GET', '/devices', { authorization: old })).status).toBe(401);
    const unknown = await call('POST', '/policies/nobody/rotate');
    expect([unknown.status, unknown.headers['content-type']]).toEqual([404, 'application/problem+json; charset=utf-8']);
    expect(JSON.parse(unknown.body)).toMatchObject({ status: 404, code: 'policy_not_found' });
  });
});

describe('a request for a stream', () => {
  it('takes an empty body with a JSON content type, as real clients send it', async () => {
    const device = DeviceClient.fromConnectionString(await test.createDevice('taker'), {
      onStream: (offer) => offer.reject('Nein, größer'),
      outbound: test.outbound,
    });
    await device.open();
    const headers = { 'content-type': 'application/json; charset=utf-8', accept: '*/*' };
    const answer = await call('POST', '/twins/taker/streams/TestStream?api-version=2018-06-30', {
      headers,
      policy: 'service',
    });
    expect([answer.status, answer.body, answer.headers['iothub-streaming-is-accepted']]).toEqual([200, '', 'False']);
    expect(decodeURIComponent(String(answer.headers['culvert-reject-reason']))).toBe('Nein, größer');
    expect(answer.headers['iothub-streaming-url']).toBeUndefined();
    await device.close();
  });

  it.each(['-1', 'x', '1e3', '', '1,2', ' '])('with the timeout %j is a 400', async (value) => {
    const headers = { 'iothub-streaming-connect-timeout-in-seconds': value };
    const answer = await call('POST', '/twins/d/streams/s', { headers });
    expect([answer.status, azureCode(answer)]).toEqual([400, 400004]);
  });

  it.each(['a%2Fb', 'a%3Fb', 'a%20b', 'x'.repeat(129)])('for the name %.20s is a 400', async (name) => {
    expect((await call('POST', `/twins/d/streams/${name}`)).status).toBe(400);
  });

  it('is withdrawn when the caller goes away', async () => {
    await test.createDevice('late');
    const caller = new AbortController();
    const outcome = call('POST', '/twins/late/streams/s', { signal: caller.signal }).catch(
      (error: Error) => error.name,
    );
    await test.event('stream-requested', (event) => event.deviceId === 'late');
    caller.abort();
    expect(await outcome).toBe('AbortError');
    expect(await test.event('stream-failed', (event) => event.deviceId === 'late')).toMatchObject({
      error: 'withdrawn',
    });
  });

  it('waits no longer than the caller allows', async () => {
    await test.createDevice('absent');
    const headers = { 'iothub-streaming-connect-timeout-in-seconds': '0.05' };
    const answer = await call('POST', '/twins/absent/streams/s', { headers });
    expect([answer.status, azureCode(answer)]).toEqual([404, 404103]);
  });
});

it('an unknown address is a 404 in Azure’s form', async () => {
  const answer = await call('GET', '/nowhere');
  expect([answer.status, azureCode(answer)]).toEqual([404, 404000]);
});
