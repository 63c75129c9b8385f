import { DeviceClient } from '@culvert/device';
import { azureError, echoOffer, RestCaller, type RestReply, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

let hub: TestHub;
let rest: RestCaller;
let count = 0;
/** The prefix of every id in a test. */
let prefix: string;

beforeAll(async () => {
  hub = await startHub();
  rest = new RestCaller(hub);
});
afterAll(() => hub.stop());
beforeEach(() => {
  prefix = `t${++count}-`;
});

const bulk = (operations: unknown, policy = 'registryReadWrite') =>
  rest.call('POST', '/devices?api-version=2021-04-12', {
    policy,
    body: operations,
    headers: { 'content-type': 'application/json; charset=utf-8' },
  });
/** An item as Node's `addDevices`, `updateDevices` and `removeDevices` create it. */
const item = (name: string, importMode: string, more: object = {}) => ({
  id: `${prefix}${name}`,
  importMode,
  authentication: { type: 'sas', symmetricKey: { primaryKey: '', secondaryKey: '' } },
  ...more,
});
const ids = async () => {
  const found: string[] = [];
  for await (const { deviceId } of hub.owner.devices.list()) if (deviceId.startsWith(prefix)) found.push(deviceId);
  return found.map((id) => id.slice(prefix.length));
};
const SUCCESS = { isSuccessful: true, errors: [], warnings: [] };

function failures({ status, headers, body }: RestReply): [string, string][] {
  expect([status, headers['iothub-errorcode']]).toEqual([400, 'BulkRegistryOperationFailure']);
  const result = JSON.parse(body);
  expect(result).toMatchObject({ isSuccessful: false, warnings: [] });
  return result.errors.map((error: { deviceId: string; moduleId?: string; errorCode: string; errorStatus: string }) => {
    expect(error.errorStatus).toMatch(/^[A-Z'].*\.$/);
    const module = error.moduleId === undefined ? '' : `/${error.moduleId}`;
    return [`${error.deviceId.slice(prefix.length)}${module}`, error.errorCode];
  });
}

describe('a call for many devices', () => {
  it('creates, updates and deletes them', async () => {
    const created = await bulk([item('a', 'create', { status: 'disabled', tags: { floor: 3 } }), item('b', 'create')]);
    expect([created.status, JSON.parse(created.body)]).toEqual([200, SUCCESS]);
    const { authentication } = await hub.owner.devices.get(`${prefix}a`);
    expect(authentication.symmetricKey.primaryKey).toHaveLength(44);

    const updated = await bulk([
      item('a', 'Update', { status: 'enabled' }),
      item('b', 'update', { statusReason: 'x' }),
    ]);
    expect(JSON.parse(updated.body)).toEqual(SUCCESS);
    expect(await hub.owner.devices.get(`${prefix}a`)).toMatchObject({ status: 'enabled', authentication });
    expect(await hub.owner.devices.get(`${prefix}b`)).toMatchObject({ statusReason: 'x' });

    const mixed = await bulk([item('a', 'Delete'), item('c', 'create')]);
    expect(JSON.parse(mixed.body)).toEqual(SUCCESS);
    expect(await ids()).toEqual(['b', 'c']);
    const { principal } = await hub.event('registry-changed', ({ deviceId }) => deviceId === `${prefix}c`);
    expect(principal).toBe('policy:registryReadWrite');
  });

  it('goes by the ETag where it is to', async () => {
    await bulk(['a', 'b', 'c', 'd'].map((name) => item(name, 'create')));
    const etag = async (name: string) => (await hub.owner.devices.get(`${prefix}${name}`)).etag;
    const answer = await bulk([
      item('a', 'UpdateIfMatchETag', { etag: await etag('a'), status: 'disabled' }),
      item('b', 'updateIfMatchETag', { eTag: 'AAAA', status: 'disabled' }),
      item('c', 'DeleteIfMatchETag', { eTag: `"${await etag('c')}"` }),
      item('d', 'DeleteIfMatchETag'),
    ]);
    expect(failures(answer)).toEqual([
      ['b', 'PreconditionFailed'],
      ['d', 'ArgumentInvalid'],
    ]);
    expect(await ids()).toEqual(['a', 'b', 'd']);
    expect((await hub.owner.devices.get(`${prefix}a`)).status).toBe('disabled');
  });

  it('does what it can, and tells of the rest', async () => {
    await hub.owner.devices.create(`${prefix}old`);
    const answer = await bulk([
      item('old', 'create'),
      item('new', 'create'),
      item('none', 'update'),
      item('gone', 'delete'),
      item('pinned', 'create', { authentication: { type: 'selfSigned' } }),
      item('twin', 'UpdateTwin'),
    ]);
    expect(failures(answer)).toEqual([
      ['old', 'DeviceAlreadyExists'],
      ['none', 'DeviceNotFound'],
      ['gone', 'DeviceNotFound'],
      ['pinned', 'ArgumentInvalid'],
      ['twin', 'FeatureNotSupported'],
    ]);
    expect(await ids()).toEqual(['new', 'old']);
  });

  it('is for modules too', async () => {
    await hub.owner.devices.create(`${prefix}d`);
    const module = (moduleId: string, mode: string, more: object = {}) => item('d', mode, { moduleId, ...more });
    const created = await bulk([module('m', 'create', { managedBy: 'me' }), module('n', 'create')]);
    expect(JSON.parse(created.body)).toEqual(SUCCESS);
    expect(await hub.owner.modules.get(`${prefix}d`, 'm')).toMatchObject({ managedBy: 'me' });
    expect(failures(await bulk([module('m', 'create'), module('n', 'delete'), module('x', 'update')]))).toEqual([
      ['d/m', 'ModuleAlreadyExistsOnDevice'],
      ['d/x', 'ModuleNotFound'],
    ]);
    expect(await hub.owner.modules.list(`${prefix}d`)).toHaveLength(1);
  });

  it('is for a hundred at once, with all that clients send along', async () => {
    const names = Array.from({ length: 100 }, (_, index) => `${index}`.padStart(3, '0'));
    const filler = { properties: { desired: { text: 'x'.repeat(3_000) } } };
    expect((await bulk(names.map((name) => item(name, 'create', filler)))).status).toBe(200);
    expect(await ids()).toEqual(names);
    expect((await bulk(names.map((name) => item(name, 'Delete')))).status).toBe(200);
    expect(await ids()).toEqual([]);
  });

  it('ends the channels of those it deletes', async () => {
    const text = await hub.createDevice(`${prefix}live`);
    const device = DeviceClient.fromConnectionString(text, { onStream: echoOffer, outbound: hub.outbound });
    await device.open();
    await bulk([item('live', 'delete')]);
    const detached = await hub.event('device-detached', ({ deviceId }) => deviceId === `${prefix}live`);
    expect(detached.error).toBe('revoked');
    await device.close();
  });
});

describe('a call that is malformed anywhere', () => {
  it.each<[string, () => unknown, [number, number]]>([
    ['nothing', () => [], [400, 400004]],
    ['no list', () => ({ devices: [] }), [400, 400004]],
    ['no JSON', () => '[', [400, 400004]],
    ['an item that is none', () => [item('a', 'create'), 7], [400, 400004]],
    ['no id', () => [item('a', 'create'), { importMode: 'create' }], [400, 400004]],
    ['an id that is none', () => [item('a', 'create'), item('b/c', 'create')], [400, 400004]],
    ['a module id that is none', () => [item('a', 'create'), item('a', 'create', { moduleId: '' })], [400, 400004]],
    ['no mode', () => [item('a', 'create'), { id: `${prefix}b` }], [400, 400004]],
    ['a mode that is none', () => [item('a', 'create'), item('b', 'upsert')], [400, 400004]],
    [
      'a key that is none',
      () => [item('a', 'create', { authentication: { symmetricKey: { primaryKey: '!' } } })],
      [400, 400004],
    ],
    ['one device twice', () => [item('a', 'create'), item('a', 'update')], [400, 400004]],
    ['more than a hundred', () => Array.from({ length: 101 }, (_, n) => item(`${n}`, 'create')), [413, 413001]],
    ['too much', () => [item('a', 'create', { tags: 'x'.repeat(410_000) })], [413, 413001]],
  ])('changes nothing: %s', async (_what, operations, error) => {
    const answer = await bulk(operations());
    expect(azureError(answer)).toEqual(error);
    expect(answer.headers['iothub-errorcode']).not.toBe('BulkRegistryOperationFailure');
    expect(await ids()).toEqual([]);
  });

  it.each(['registryRead', 'service', 'device'])('changes nothing with the policy %s', async (policy) => {
    expect(azureError(await bulk([item('a', 'create')], policy))).toEqual([401, 401002]);
    expect(await ids()).toEqual([]);
  });
});
