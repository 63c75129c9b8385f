import { DeviceClient } from '@culvert/device';
import { azureError, RestCaller, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

let hub: TestHub;
let rest: RestCaller;
let count = 0;
/** A device id that only the current test uses. */
let id: string;

beforeAll(async () => {
  hub = await startHub();
  rest = new RestCaller(hub);
});
afterAll(() => hub.stop());
beforeEach(() => {
  id = `d${++count}`;
});

const put = (body: object, headers: Record<string, string> = {}) =>
  rest.call('PUT', `/devices/${id}`, { body, headers });
const authenticationOf = async (body: object, headers: Record<string, string> = {}) => {
  const answer = await put({ authentication: body }, headers);
  expect(answer.status).toBe(200);
  return JSON.parse(answer.body).authentication;
};
const UPDATE = { 'if-match': '*' };
const SHA1 = 'EAFA'.repeat(10);
const SHA256 = '0123456789ABCDEF'.repeat(4);

describe('If-Match', () => {
  it.each<[string, (etag: string) => string]>([
    ['*', () => '*'],
    ['"*", as Node’s client writes it', () => '"*"'],
    ['a quoted ETag', (etag) => `"${etag}"`],
    ['a bare ETag, as C#’s client writes it', (etag) => etag],
    ['a weak ETag', (etag) => `W/"${etag}"`],
  ])('is %s', async (_what, form) => {
    const { etag } = JSON.parse((await put({})).body);
    const updated = await put({ status: 'disabled' }, { 'if-match': form(etag) });
    expect(updated.status).toBe(200);
    const newer = JSON.parse(updated.body).etag;
    const deleted = await rest.call('DELETE', `/devices/${id}`, { headers: { 'if-match': form(newer) } });
    expect(deleted.status).toBe(204);
  });

  it.each(['"x"', 'x', '""', 'W/"x"'])('%s is not the ETag', async (etag) => {
    await put({});
    const headers = { 'if-match': etag };
    expect(azureError(await put({}, headers))).toEqual([412, 412001]);
    expect(azureError(await rest.call('DELETE', `/devices/${id}`, { headers }))).toEqual([412, 412001]);
  });

  it('asks for something that is there', async () => {
    expect(azureError(await put({}, UPDATE))).toEqual([404, 404001]);
    expect(azureError(await rest.call('DELETE', `/devices/${id}`, { headers: UPDATE }))).toEqual([404, 404001]);
    expect(azureError(await rest.call('DELETE', `/devices/${id}`))).toEqual([404, 404001]);
  });

  it('of two writers with the same version lets one through', async () => {
    const { etag } = JSON.parse((await put({})).body);
    const writes = await Promise.all(
      Array.from({ length: 8 }, (_, n) => put({ statusReason: `writer ${n}` }, { 'if-match': `"${etag}"` })),
    );
    const statuses = writes.map(({ status }) => status).toSorted((a, b) => a - b);
    expect(statuses).toEqual([200, 412, 412, 412, 412, 412, 412, 412]);
  });
});

describe('an update', () => {
  it('keeps what is left out, and takes a device back as it was read', async () => {
    const made = JSON.parse((await put({ statusReason: 'new', capabilities: { iotEdge: true } })).body);
    const kept = JSON.parse((await put({}, UPDATE)).body);
    expect(kept).toEqual({ ...made, etag: kept.etag });
    const back = JSON.parse((await put(kept, { 'if-match': `"${kept.etag}"` })).body);
    expect(back).toEqual({ ...made, etag: back.etag });
    const cleared = JSON.parse((await put({ statusReason: null, capabilities: { iotEdge: false } }, UPDATE)).body);
    expect(cleared).toMatchObject({ statusReason: null, capabilities: { iotEdge: false } });
  });

  it('of every device of a fleet at once is whole', async () => {
    await put({});
    // An unconditional update is tried again when another update was written in between.
    const updates = await Promise.all(Array.from({ length: 4 }, (_, n) => put({ statusReason: `${n}` }, UPDATE)));
    expect(updates.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  });
});

describe('authentication', () => {
  it('by keys: those given are kept, the others made', async () => {
    const primaryKey = Buffer.alloc(16, 1).toString('base64');
    const given = await authenticationOf({ type: 'sas', symmetricKey: { primaryKey, secondaryKey: '' } });
    expect(given.symmetricKey.primaryKey).toBe(primaryKey);
    expect(Buffer.from(given.symmetricKey.secondaryKey, 'base64')).toHaveLength(32);
    const secondaryKey = Buffer.alloc(64, 2).toString('base64');
    const changed = await authenticationOf({ symmetricKey: { secondaryKey } }, UPDATE);
    expect(changed.symmetricKey).toEqual({ primaryKey, secondaryKey });
  });

  it.each([SHA1, SHA256.toLowerCase(), SHA256.replace(/..(?=.)/g, '$&:')])(
    'by thumbprints, as tools print them: %s',
    async (primaryThumbprint) => {
      const shown = await authenticationOf({
        type: 'selfSigned',
        x509Thumbprint: { primaryThumbprint, secondaryThumbprint: '' },
      });
      expect(shown).toEqual({
        type: 'selfSigned',
        symmetricKey: { primaryKey: null, secondaryKey: null },
        x509Thumbprint: {
          primaryThumbprint: primaryThumbprint.replaceAll(':', '').toUpperCase(),
          secondaryThumbprint: null,
        },
      });
    },
  );

  it('by thumbprints without a type, as early clients sent it', async () => {
    expect(await authenticationOf({ x509Thumbprint: { secondaryThumbprint: SHA1 } })).toMatchObject({
      type: 'selfSigned',
      x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: SHA1 },
    });
  });

  it('by thumbprints: the second is added, the first taken away', async () => {
    await authenticationOf({ type: 'selfSigned', x509Thumbprint: { primaryThumbprint: SHA1 } });
    const both = await authenticationOf({ x509Thumbprint: { secondaryThumbprint: SHA256 } }, UPDATE);
    expect(both.x509Thumbprint).toEqual({ primaryThumbprint: SHA1, secondaryThumbprint: SHA256 });
    const one = await authenticationOf({ type: 'selfSigned', x509Thumbprint: { primaryThumbprint: '' } }, UPDATE);
    expect(one.x509Thumbprint).toEqual({ primaryThumbprint: null, secondaryThumbprint: SHA256 });
    const none = { type: 'selfSigned', x509Thumbprint: { secondaryThumbprint: '' } };
    expect(azureError(await put({ authentication: none }, UPDATE))).toEqual([400, 400004]);
  });

  it('changes its type, and forgets what it was', async () => {
    const { symmetricKey } = await authenticationOf({ type: 'sas' });
    for (const type of ['certificateAuthority', 'none']) {
      expect(await authenticationOf({ type }, UPDATE)).toEqual({
        type,
        symmetricKey: { primaryKey: null, secondaryKey: null },
        x509Thumbprint: { primaryThumbprint: null, secondaryThumbprint: null },
      });
    }
    const again = await authenticationOf({ type: 'sas' }, UPDATE);
    expect(again.symmetricKey.primaryKey).toHaveLength(44);
    expect(again.symmetricKey.primaryKey).not.toBe(symmetricKey.primaryKey);
  });
});

describe('statistics', () => {
  it('count those that are registered, disabled and here', async () => {
    const before = JSON.parse((await rest.call('GET', '/statistics/devices')).body);
    const connected = async () => {
      const answer = await rest.call('GET', '/statistics/service?api-version=2018-06-30', { policy: 'registryRead' });
      return JSON.parse(answer.body).connectedDeviceCount;
    };
    expect(await connected()).toBe(0);
    const device = DeviceClient.fromConnectionString(await hub.createDevice(id), {
      onStream: (offer) => offer.reject(),
      outbound: hub.outbound,
    });
    await device.open();
    const { authentication } = await hub.owner.modules.create(id, 'm');
    const key = authentication.symmetricKey.primaryKey;
    const text = `HostName=127.0.0.1:${hub.port};DeviceId=${id};ModuleId=m;SharedAccessKey=${key}`;
    const module = DeviceClient.fromConnectionString(text, { onStream: () => undefined, outbound: hub.outbound });
    await module.open();
    // A module is not counted as a device.
    expect(await connected()).toBe(1);
    await Promise.all([device.close(), module.close()]);
    await hub.event('device-detached', (event) => event.deviceId === id && event.moduleId === undefined);
    expect(await connected()).toBe(0);
    await hub.owner.devices.update({ deviceId: id, status: 'disabled' });
    expect(JSON.parse((await rest.call('GET', '/statistics/devices')).body)).toEqual({
      totalDeviceCount: before.totalDeviceCount + 1,
      enabledDeviceCount: before.enabledDeviceCount,
      disabledDeviceCount: before.disabledDeviceCount + 1,
    });
    expect((await rest.call('GET', '/statistics/service', { policy: 'service' })).status).toBe(401);
  });
});

it('the body of an unauthenticated request is not read', async () => {
  const refused = await rest.call('PUT', `/devices/${id}`, { authorization: 'x', body: 'x'.repeat(1_000_000) });
  expect(azureError(refused)).toEqual([401, 401002]);
  const bulk = await rest.call('POST', '/devices', { policy: 'registryRead', body: 'x'.repeat(1_000_000) });
  expect(azureError(bulk)).toEqual([401, 401002]);
});
