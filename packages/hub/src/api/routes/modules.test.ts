import { once } from 'node:events';
import { DeviceClient } from '@culvert/device';
import { formatDeviceConnectionString } from '@culvert/protocol';
import { azureError, echoOffer, FakeClock, RestCaller, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

let hub: TestHub;
let rest: RestCaller;
let count = 0;
/** A device that only the current test uses. */
let deviceId: string;
/** The device's primary key. */
let deviceKey: string;

beforeAll(async () => {
  hub = await startHub();
  rest = new RestCaller(hub);
});
afterAll(() => hub.stop());
beforeEach(async () => {
  deviceId = `d${++count}`;
  deviceKey = (await hub.owner.devices.create(deviceId)).authentication.symmetricKey.primaryKey ?? '';
});

const path = (moduleId: string) => `/devices/${deviceId}/modules/${moduleId}`;
const create = (moduleId: string, body: object = {}) => rest.call('PUT', path(moduleId), { body });

/** A client for the module, which authenticates with the module's own key or with a policy's key. */
async function client(moduleId: string, policy?: string): Promise<DeviceClient> {
  const { authentication } = await hub.owner.modules.get(deviceId, moduleId);
  const { primaryKey } = authentication.symmetricKey;
  const key = policy === undefined ? primaryKey : (await hub.owner.policies.get(policy)).primaryKey;
  const text = formatDeviceConnectionString({ host: '127.0.0.1', port: hub.port, deviceId, moduleId, key });
  const named = policy === undefined ? text : text.replace(';SharedAccessKey=', `;SharedAccessKeyName=${policy}$&`);
  return DeviceClient.fromConnectionString(named, { onStream: echoOffer, outbound: hub.outbound });
}

describe('modules', () => {
  it('are created from a document without keys, as Azure’s C client sends it', async () => {
    const body = {
      deviceId,
      moduleId: 'TestModule',
      managedBy: 'testManagedBy',
      status: 'enabled',
      authentication: { type: 'sas', symmetricKey: { primaryKey: '', secondaryKey: '' } },
    };
    const created = await rest.call('PUT', `${path('TestModule')}?api-version=2018-06-30`, { body });
    expect(created.status).toBe(200);
    const module = JSON.parse(created.body);
    expect(created.headers.etag).toBe(`"${module.etag}"`);
    expect(module).toEqual({
      deviceId,
      moduleId: 'TestModule',
      managedBy: 'testManagedBy',
      generationId: expect.stringMatching(/.+/),
      etag: expect.stringMatching(/.+/),
      connectionState: 'Disconnected',
      connectionStateUpdatedTime: '0001-01-01T00:00:00',
      lastActivityTime: '0001-01-01T00:00:00',
      cloudToDeviceMessageCount: 0,
      authentication: {
        type: 'sas',
        symmetricKey: { primaryKey: expect.any(String), secondaryKey: expect.any(String) },
        x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
      },
    });
    const { primaryKey, secondaryKey } = module.authentication.symmetricKey;
    expect([primaryKey, secondaryKey].map((key) => Buffer.from(key, 'base64').length)).toEqual([32, 32]);
    expect(primaryKey).not.toBe(secondaryKey);
    const read = await rest.call('GET', path('TestModule'), { policy: 'registryRead' });
    expect([JSON.parse(read.body), read.headers.etag]).toEqual([module, created.headers.etag]);
    expect(azureError(await create('TestModule'))).toEqual([409, 409301]);
  });

  it('are listed in order, those of this device alone', async () => {
    await hub.owner.devices.create(`${deviceId}-other`);
    await hub.owner.modules.create(`${deviceId}-other`, 'x');
    for (const id of ['b', 'B', 'a', '$edgeAgent']) expect((await create(encodeURIComponent(id))).status).toBe(200);
    const list = JSON.parse((await rest.call('GET', `/devices/${deviceId}/modules/`)).body) as { moduleId: string }[];
    expect(list.map(({ moduleId }) => moduleId)).toEqual(['$edgeAgent', 'B', 'a', 'b']);
    expect(azureError(await rest.call('GET', '/devices/nobody/modules'))).toEqual([404, 404001]);
  });

  it('are updated under If-Match in every form clients write it, and keep what is left out', async () => {
    const created = JSON.parse((await create('m', { managedBy: 'me' })).body);
    const forms = [
      () => '*',
      () => '"*"',
      (etag: string) => etag,
      (etag: string) => `"${etag}"`,
      (etag: string) => `W/"${etag}"`,
    ];
    let { etag } = created;
    for (const [index, form] of forms.entries()) {
      const managedBy = `me ${index}`;
      const updated = await rest.call('PUT', path('m'), { headers: { 'if-match': form(etag) }, body: { managedBy } });
      expect(updated.status).toBe(200);
      const module = JSON.parse(updated.body);
      expect(module).toEqual({ ...created, managedBy, etag: module.etag });
      expect(module.etag).not.toBe(etag);
      etag = module.etag;
    }
    const stale = { headers: { 'if-match': `"${created.etag}"` }, body: {} };
    for (const method of ['PUT', 'DELETE']) {
      expect(azureError(await rest.call(method, path('m'), stale))).toEqual([412, 412001]);
    }
    const whole = { headers: { 'if-match': '*' }, body: { ...created, managedBy: null } };
    expect(JSON.parse((await rest.call('PUT', path('m'), whole)).body).managedBy).toBeNull();
  });

  it('keep their etag when a write changes nothing, which is not told', async () => {
    const created = JSON.parse((await create('m', { managedBy: 'me' })).body);
    const { etag, authentication } = created;
    for (const body of [{}, { managedBy: 'me' }, { authentication }, created]) {
      for (const match of ['*', `"${etag}"`]) {
        const written = await rest.call('PUT', path('m'), { headers: { 'if-match': match }, body });
        expect([written.status, JSON.parse(written.body)]).toEqual([200, created]);
      }
    }
    const device = await hub.owner.devices.get(deviceId);
    expect((await hub.owner.devices.update({ deviceId, status: 'enabled' })).etag).toBe(device.etag);
    const told = hub.events.filter((event) => event.type === 'registry-changed' && event.deviceId === deviceId);
    expect(told.map((event) => 'change' in event && event.change)).toEqual(['created', 'created']);
  });

  it('are not there: of the device or the module', async () => {
    const headers = { 'if-match': '*' };
    for (const method of ['GET', 'PUT', 'DELETE']) {
      const options = { headers, ...(method === 'PUT' ? { body: {} } : {}) };
      expect(azureError(await rest.call(method, path('m'), options))).toEqual([404, 404010]);
      expect(azureError(await rest.call(method, '/devices/nobody/modules/m', options))).toEqual([404, 404001]);
    }
    expect(azureError(await rest.call('PUT', '/devices/nobody/modules/m', { body: {} }))).toEqual([404, 404001]);
  });

  it('are deleted with any api-version, or none', async () => {
    for (const query of ['', '?api-version=2020-09-30', '?api-version=', '?x=y']) {
      await create('m');
      const deleted = await rest.call('DELETE', `${path('m')}${query}`);
      expect([deleted.status, deleted.body]).toEqual([204, '']);
    }
  });

  it('are fifty of one device at most', async () => {
    const created = await Promise.all(Array.from({ length: 50 }, (_, index) => create(`m${index}`)));
    expect(created.map(({ status }) => status)).toEqual(Array(50).fill(200));
    expect(azureError(await create('m50'))).toEqual([403, 403002]);
    await hub.owner.modules.delete(deviceId, 'm7');
    expect((await create('m50')).status).toBe(200);
  });

  it.each<[string, unknown]>([
    ['..', {}],
    ['%2e', {}],
    ['a%2fb', {}],
    ['a%20b', {}],
    ['x%3BModuleId=', {}],
    ['y'.repeat(129), {}],
    ['m', { moduleId: 'n' }],
    ['m', { deviceId: 'other' }],
    ['m', { managedBy: 'x'.repeat(129) }],
    ['m', { authentication: { type: 'password' } }],
    ['m', { authentication: { type: 'selfSigned' } }],
    ['m', { authentication: { symmetricKey: { primaryKey: 'short' } } }],
    ['m', { authentication: { x509Thumbprint: { primaryThumbprint: 'xyz' } } }],
    ['m', []],
    ['m', 'not json'],
  ])('are not created as %.20s with %j', async (id, body) => {
    const [status, code] = azureError(await rest.call('PUT', path(id), { body }));
    expect([status, code]).toEqual([400, 400004]);
    expect(await hub.owner.modules.list(deviceId)).toEqual([]);
  });
});

describe('a device’s own token', () => {
  it('manages the device’s own modules', async () => {
    const authorization = await rest.ownToken({ deviceId }, deviceKey);
    const own = (method: string, at: string, options = {}) => rest.call(method, at, { ...options, authorization });
    expect((await own('PUT', path('m'), { body: {} })).status).toBe(200);
    expect((await own('PUT', path('m'), { headers: { 'if-match': '*' }, body: {} })).status).toBe(200);
    expect((await own('GET', path('m'))).status).toBe(200);
    expect(JSON.parse((await own('GET', `/devices/${deviceId}/modules`)).body)).toHaveLength(1);
    expect((await own('DELETE', path('m'), { headers: { 'if-match': '*' } })).status).toBe(204);
    const { principal } = await hub.event(
      'registry-changed',
      (event) => event.moduleId === 'm' && event.deviceId === deviceId,
    );
    expect(principal).toBe(`device:${deviceId}`);
  });

  it('changes modules a hundred times at once and then once a minute, and what changes nothing does not count', async () => {
    const clock = new FakeClock(Date.now());
    const own = await startHub({ clock });
    try {
      const caller = new RestCaller(own);
      const { authentication } = await own.owner.devices.create('d');
      await own.owner.devices.create('e');
      const authorization = await caller.ownToken({ deviceId: 'd' }, authentication.symmetricKey.primaryKey ?? '');
      const write = async (method: string, body: object | undefined, match?: string): Promise<number> => {
        const headers = match === undefined ? {} : { 'if-match': match };
        const options = { authorization, headers, ...(body === undefined ? {} : { body }) };
        return (await caller.call(method, '/devices/d/modules/m', options)).status;
      };
      const counts: Record<number, number> = {};
      for (let n = 0; n < 60; n++) {
        for (const status of [await write('PUT', {}), await write('DELETE', undefined, '*')])
          counts[status] = (counts[status] ?? 0) + 1;
        if (n === 10) expect(await write('PUT', {}, '*')).toBe(404);
      }
      expect(counts).toEqual({ 200: 50, 204: 50, 429: 20 });
      expect(own.events.filter(({ type }) => type === 'registry-changed')).toHaveLength(102);
      await clock.advance(60_000);
      expect([
        await write('PUT', {}),
        await write('PUT', {}, '*'),
        await write('PUT', { managedBy: 'x' }, '*'),
      ]).toEqual([200, 200, 429]);
      expect((await caller.call('PUT', '/devices/e/modules/m', { body: {} })).status).toBe(200);
      expect((await caller.call('DELETE', '/devices/d/modules/m')).status).toBe(204);
    } finally {
      await own.stop();
    }
  });

  it('manages nothing else', async () => {
    const authorization = await rest.ownToken({ deviceId }, deviceKey);
    await hub.owner.devices.create(`${deviceId}x`);
    for (const [method, at] of [
      ['GET', `/devices/${deviceId}`],
      ['DELETE', `/devices/${deviceId}`],
      ['GET', '/devices'],
      ['POST', '/devices'],
      ['GET', '/statistics/devices'],
      ['GET', `/devices/${deviceId}x/modules`],
      ['PUT', `/devices/${deviceId}x/modules/m`],
      ['PUT', '/devices/nobody/modules/m'],
      ['PUT', '/certificate-authorities/x'],
      ['POST', `/twins/${deviceId}/modules/m/streams/s`],
    ] as const) {
      const body = method === 'PUT' ? { body: {} } : {};
      expect([method, at, (await rest.call(method, at, { ...body, authorization })).status]).toEqual([method, at, 401]);
    }
  });

  it('is of no use when it is a module’s, or the device is disabled', async () => {
    const module = await hub.owner.modules.create(deviceId, 'm');
    const key = module.authentication.symmetricKey.primaryKey ?? '';
    const asModule = await rest.ownToken({ deviceId, moduleId: 'm' }, key);
    expect((await rest.call('GET', path('m'), { authorization: asModule })).status).toBe(401);
    await hub.owner.devices.update({ deviceId, status: 'disabled' });
    const asDevice = await rest.ownToken({ deviceId }, deviceKey);
    expect(azureError(await rest.call('GET', path('m'), { authorization: asDevice }))).toEqual([403, 403012]);
  });
});

it.each([
  ['service', 'GET', 401],
  ['device', 'GET', 401],
  ['registryRead', 'GET', 200],
  ['registryRead', 'PUT', 401],
  ['registryRead', 'DELETE', 401],
  ['registryReadWrite', 'PUT', 200],
  ['registryReadWrite', 'DELETE', 204],
])('the policy %s may %s a module: %i', async (policy, method, status) => {
  await create('m');
  const options = method === 'PUT' ? { body: {}, headers: { 'if-match': '*' } } : {};
  expect((await rest.call(method, path('m'), { policy, ...options })).status).toBe(status);
});

describe('a module’s control channel', () => {
  it('is what its connection state tells of', async () => {
    await create('m');
    const module = await client('m');
    await module.open();
    const shown = JSON.parse((await rest.call('GET', path('m'))).body);
    expect(shown).toMatchObject({ connectionState: 'Connected', lastActivityTime: expect.stringMatching(/^20/) });
    expect(await hub.owner.devices.get(deviceId)).toMatchObject({ connectionState: 'Disconnected' });
    await module.close();
    await hub.event('device-detached', (event) => event.deviceId === deviceId);
    expect(await hub.owner.modules.get(deviceId, 'm')).toMatchObject({ connectionState: 'Disconnected' });
  });

  it('is not for a module with authentication none, by whatever key', async () => {
    await create('m', { authentication: { type: 'none' } });
    const byPolicy = await client('m', 'device');
    await expect(byPolicy.open()).rejects.toMatchObject({ code: 'unauthorized' });
    await create('n');
    const withKey = await client('n');
    await withKey.open();
    await hub.owner.modules.update({ deviceId, moduleId: 'n', authentication: { type: 'none' } });
    await hub.event('device-detached', (event) => event.deviceId === deviceId && event.moduleId === 'n');
    await withKey.close();
  });

  it('ends with its device, and so do its streams', async () => {
    await create('m');
    const module = await client('m');
    await module.open();
    const stream = await hub.owner.openStream(deviceId, { moduleId: 'm', name: 's' });
    stream.write('hello');
    expect(String((await once(stream, 'data'))[0])).toBe('hello');
    const torn = once(stream, 'error');
    expect((await rest.call('DELETE', `/devices/${deviceId}`, { headers: { 'if-match': '*' } })).status).toBe(204);
    expect(await torn).toMatchObject([{ code: 'revoked' }]);
    const detached = await hub.event('device-detached', (event) => event.deviceId === deviceId);
    expect(detached).toMatchObject({ moduleId: 'm', error: 'revoked' });
    await module.close();
  });

  it('is not its device’s', async () => {
    await create('m');
    const now = { headers: { 'iothub-streaming-connect-timeout-in-seconds': '0' } };
    expect(azureError(await rest.call('POST', `/twins/${deviceId}/modules/m/streams/s`, now))).toEqual([404, 404103]);
    expect(azureError(await rest.call('POST', `/twins/${deviceId}/modules/n/streams/s`, now))).toEqual([404, 404010]);
    expect(azureError(await rest.call('POST', '/twins/nobody/modules/m/streams/s', now))).toEqual([404, 404001]);
  });
});
