import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { ClientProgram, type Outcome } from './support/client-program.ts';
import { HubProcess } from './support/hub-process.ts';

const cleanup = new Cleanup();
let hub: HubProcess;
let registry: ClientProgram;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup, { knownPorts: true });
  registry = await registryAs('registryReadWrite');
});
afterAll(() => cleanup.run());

/** Starts a program with the Registry of azure-iothub, with the connection string of a policy. */
function registryAs(policy: string): Promise<ClientProgram> {
  return ClientProgram.start(cleanup, hub, 'registry.mjs', { CONNECTION_STRING: hub.policy(policy) });
}

/** Calls one operation by its name. */
const call = (operation: string, ...args: readonly unknown[]): Promise<Outcome> =>
  registry.ask('call', operation, ...args);

const key = () => randomBytes(32).toString('base64');

test('create: keys are made where none is given, and kept where they are', async () => {
  const made = await call('create', { deviceId: 'made' });
  expect(made).toMatchObject({
    value: {
      status: 200,
      body: {
        deviceId: 'made',
        status: 'enabled',
        connectionState: 'Disconnected',
        cloudToDeviceMessageCount: 0,
        authentication: {
          type: 'sas',
          symmetricKey: {
            primaryKey: expect.stringMatching(/^.{43}=$/),
            secondaryKey: expect.stringMatching(/^.{43}=$/),
          },
        },
      },
    },
  });
  const symmetricKey = { primaryKey: key(), secondaryKey: key() };
  const given = await call('create', { deviceId: 'given', status: 'disabled', authentication: { symmetricKey } });
  expect(given).toMatchObject({
    value: { body: { status: 'disabled', authentication: { type: 'sas', symmetricKey } } },
  });
});

test('create again is DeviceAlreadyExistsError', async () => {
  await call('create', { deviceId: 'twice' });
  const again = await call('create', { deviceId: 'twice' });
  expect(again).toMatchObject({ error: { name: 'DeviceAlreadyExistsError', status: 409 } });
});

test('get what create gave, update it, and delete it', async () => {
  const deviceId = "odd:id.with_every#thing@it(may)have=and;'so'$on!*%?,+";
  const { value } = await call('create', { deviceId });
  expect(await call('get', deviceId)).toEqual({ value });

  const updated = await call('update', { deviceId, status: 'disabled', statusReason: 'sold' });
  expect(updated).toMatchObject({
    value: { status: 200, body: { deviceId, status: 'disabled', statusReason: 'sold' } },
  });
  const etags = [value, updated.value].map((answer) => (answer as { body: { etag: string } }).body.etag);
  expect(etags[0]).not.toBe(etags[1]);

  expect(await call('delete', deviceId)).toMatchObject({ value: { status: 204 } });
  expect(await call('get', deviceId)).toMatchObject({ error: { message: 'Not found', status: 404 } });
});

test('update and delete of what is not there', async () => {
  expect(await call('update', { deviceId: 'nobody' })).toMatchObject({ error: { message: 'Not found', status: 404 } });
  expect(await call('delete', 'nobody')).toMatchObject({ error: { message: 'Not found', status: 404 } });
});

test('a malformed device is ArgumentError', async () => {
  expect(await call('create', { deviceId: 'no spaces' })).toMatchObject({
    error: { name: 'ArgumentError', status: 400 },
  });
  const symmetricKey = { primaryKey: 'too short', secondaryKey: key() };
  expect(await call('create', { deviceId: 'bad-key', authentication: { type: 'sas', symmetricKey } })).toMatchObject({
    error: { name: 'ArgumentError', status: 400 },
  });
});

test('list and statistics', async () => {
  for (const deviceId of ['listed-1', 'listed-2']) await call('create', { deviceId });
  const listed = await call('list');
  const ids = (listed.value as { body: { deviceId: string }[] }).body.map(({ deviceId }) => deviceId);
  expect(ids).toEqual(expect.arrayContaining(['listed-1', 'listed-2']));
  expect(await call('getRegistryStatistics')).toMatchObject({
    value: { status: 200, body: { totalDeviceCount: ids.length, disabledDeviceCount: expect.any(Number) } },
  });
});

test('devices with certificates in place of keys', async () => {
  const [primaryThumbprint, secondaryThumbprint] = ['A1'.repeat(20), 'B2'.repeat(32)];
  const x509Thumbprint = { primaryThumbprint, secondaryThumbprint };
  expect(await call('create', { deviceId: 'self-signed', authentication: { x509Thumbprint } })).toMatchObject({
    value: { status: 200, body: { authentication: { type: 'selfSigned', x509Thumbprint } } },
  });
  const byAuthority = { deviceId: 'by-authority', authentication: { type: 'certificateAuthority' } };
  expect(await call('create', byAuthority)).toMatchObject({
    value: { status: 200, body: { authentication: { type: 'certificateAuthority' } } },
  });
  const nonsense = { x509Thumbprint: { primaryThumbprint: 'not hexadecimal' } };
  expect(await call('create', { deviceId: 'nonsense', authentication: nonsense })).toMatchObject({
    error: { name: 'ArgumentError', status: 400 },
  });
});

test('modules: add, get, list, update by ETag, remove', async () => {
  const device = { deviceId: 'gateway' };
  await call('create', device);
  const added = await call('addModule', { ...device, moduleId: 'camera', managedBy: 'the shop' });
  expect(added).toMatchObject({
    value: {
      status: 200,
      body: {
        ...device,
        moduleId: 'camera',
        managedBy: 'the shop',
        connectionState: 'Disconnected',
        authentication: { type: 'sas', symmetricKey: { primaryKey: expect.stringMatching(/^.{43}=$/) } },
      },
    },
  });
  const module = (added.value as { body: Record<string, unknown> }).body;
  expect(await call('addModule', { ...device, moduleId: 'camera' })).toMatchObject({
    error: { name: 'DeviceAlreadyExistsError', status: 409 },
  });
  expect(await call('getModule', 'gateway', 'camera')).toMatchObject({ value: { status: 200, body: module } });
  await call('addModule', { ...device, moduleId: 'microphone', authentication: { type: 'none' } });
  const modules = (await call('getModulesOnDevice', 'gateway')).value as { body: { moduleId: string }[] };
  expect(modules.body.map(({ moduleId }) => moduleId)).toEqual(['camera', 'microphone']);

  const updated = await call('updateModule', { ...module, managedBy: 'nobody' });
  expect(updated).toMatchObject({ value: { status: 200, body: { managedBy: 'nobody' } } });
  // The ETag is the one from before the update, so this update must fail as stale.
  const stale = { error: { name: 'InvalidEtagError', status: 412 } };
  expect(await call('updateModule', { ...module, managedBy: 'me' })).toMatchObject(stale);
  expect(await call('updateModule', { ...module, managedBy: 'me' }, true)).toMatchObject({ value: { status: 200 } });
  expect(await call('removeModule', 'gateway', 'camera')).toMatchObject({ value: { status: 204 } });
  expect(await call('getModule', 'gateway', 'camera')).toMatchObject({ error: { message: 'Not found', status: 404 } });
});

test('many devices in one call', async () => {
  const devices = ['bulk-1', 'bulk-2', 'bulk-3'].map((deviceId) => ({ deviceId, status: 'enabled' }));
  const done = { value: { status: 200, body: { isSuccessful: true, errors: [] } } };
  expect(await call('addDevices', devices)).toMatchObject(done);
  const again = await call('addDevices', [...devices.slice(0, 1), { deviceId: 'bulk-4' }]);
  expect(again.error).toMatchObject({ name: 'ArgumentError', status: 400 });
  expect(again.error?.message).toMatch(/bulk-1[\s\S]*DeviceAlreadyExists/);
  expect(await call('get', 'bulk-4')).toMatchObject({ value: { status: 200 } });

  const disabled = devices.map((device) => ({ ...device, status: 'disabled' }));
  expect(await call('updateDevices', disabled, true)).toMatchObject(done);
  const seen = (await call('get', 'bulk-2')).value as { body: { status: string; etag: string } };
  expect(seen.body.status).toBe('disabled');
  const enabled = { deviceId: 'bulk-2', status: 'enabled', etag: seen.body.etag };
  expect(await call('updateDevices', [enabled], false)).toMatchObject(done);
  expect(await call('updateDevices', [enabled], false)).toMatchObject({ error: { status: 400 } });

  expect(await call('removeDevices', devices, true)).toMatchObject(done);
  expect(await call('get', 'bulk-2')).toMatchObject({ error: { status: 404 } });
});

test('what the hub has no place for is an error at once, and harmless', async () => {
  await call('create', { deviceId: 'twinless' });
  const attempts: [string, ...unknown[]][] = [
    ['getTwin', 'twinless'],
    ['updateTwin', 'twinless', { tags: { floor: 2 } }, '*'],
    ['getModuleTwin', 'twinless', 'm'],
    ['listJobs'],
    ['getJob', 'j'],
    ['exportDevicesToBlob', 'https://blob.example/', false],
    ['getConfigurations'],
    ['addConfiguration', { id: 'c', content: {} }],
    ['applyConfigurationContentOnDevice', 'twinless', { modulesContent: {} }],
  ];
  for (const attempt of attempts) {
    const { error } = await call(...attempt);
    expect(error?.status, attempt[0]).toBe(501);
    expect(error?.message, attempt[0]).toMatch(/carries streams only/);
  }
  expect(await call('get', 'twinless')).toMatchObject({ value: { status: 200 } });
});

test('a policy that may not is UnauthorizedError', async () => {
  const reader = await registryAs('registryRead');
  expect(await reader.ask('call', 'list')).toMatchObject({ value: { status: 200 } });
  expect(await reader.ask('call', 'create', { deviceId: 'by-reader' })).toMatchObject({
    error: { name: 'UnauthorizedError', status: 401 },
  });
  const service = await registryAs('service');
  expect(await service.ask('call', 'list')).toMatchObject({ error: { name: 'UnauthorizedError', status: 401 } });
});

test('a hub whose certificate cannot be traced is not talked to', async () => {
  const suspicious = await ClientProgram.start(cleanup, hub, 'registry.mjs', {
    CONNECTION_STRING: hub.policy('registryReadWrite'),
    NODE_EXTRA_CA_CERTS: '/etc/ssl/certs/ca-certificates.crt',
  });
  const { error } = await suspicious.ask('call', 'list');
  expect(error?.status).toBeUndefined();
  expect(error?.message).toMatch(/self-signed certificate|unable to (get|verify)/);
});
