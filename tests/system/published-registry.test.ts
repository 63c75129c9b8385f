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

/** The Registry of azure-iothub in a program of its own, with the connection string of a policy. */
function registryAs(policy: string): Promise<ClientProgram> {
  return ClientProgram.start(cleanup, hub, 'registry.mjs', { CONNECTION_STRING: hub.policy(policy) });
}

/** One operation by its name. */
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

test('what the hub has no place for is an error at once, and harmless', async () => {
  await call('create', { deviceId: 'twinless' });
  const attempts: [string, ...unknown[]][] = [
    ['getTwin', 'twinless'],
    ['updateTwin', 'twinless', { tags: { floor: 2 } }, '*'],
    ['getModuleTwin', 'twinless', 'm'],
    ['listJobs'],
    ['getConfigurations'],
    ['addConfiguration', { id: 'c', content: {} }],
    ['applyConfigurationContentOnDevice', 'twinless', { modulesContent: {} }],
  ];
  for (const attempt of attempts) {
    const { error } = await call(...attempt);
    expect(error?.status, attempt[0]).toBeGreaterThanOrEqual(400);
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
