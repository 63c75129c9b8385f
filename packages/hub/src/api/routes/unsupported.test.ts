import { azureError, RestCaller, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let hub: TestHub;
let rest: RestCaller;

beforeAll(async () => {
  hub = await startHub();
  rest = new RestCaller(hub);
  await hub.owner.devices.create('query');
});
afterAll(() => hub.stop());

describe('what Azure’s service can do besides', () => {
  it.each([
    ['GET', '/twins/d'],
    ['PATCH', '/twins/d'],
    ['PUT', '/twins/d'],
    ['GET', '/twins/d/modules/m'],
    ['PATCH', '/twins/d/modules/m'],
    ['POST', '/twins/d/methods'],
    ['POST', '/twins/d/modules/m/methods'],
    ['POST', '/devices/query'],
    ['POST', '/devices/d/messages/events'],
    ['GET', '/devices/d/messages/deviceBound'],
    ['DELETE', '/devices/d/messages/deviceBound/abc'],
    ['POST', '/devices/d/messages/deviceBound/abc/abandon'],
    ['DELETE', '/devices/d/messages/commands'],
    ['POST', '/devices/d/modules/m/messages/events'],
    ['POST', '/devices/d/files'],
    ['POST', '/devices/d/files/notifications'],
    ['POST', '/devices/d/applyConfigurationContent'],
    ['GET', '/digitaltwins/d'],
    ['POST', '/jobs/create'],
    ['GET', '/jobs'],
    ['GET', '/jobs/1'],
    ['DELETE', '/jobs/1'],
    ['GET', '/jobs/v2/query'],
    ['PUT', '/jobs/v2/1'],
    ['POST', '/jobs/v2/1/cancel'],
    ['GET', '/configurations'],
    ['PUT', '/configurations/c'],
    ['POST', '/configurations/testQueries'],
    ['GET', '/messages/serviceBound/feedback'],
  ])('is told to be none of this hub’s: %s %s', async (method, path) => {
    const body = ['POST', 'PUT', 'PATCH'].includes(method) ? { body: { query: 'SELECT *' } } : {};
    const answer = await rest.call(method, `${path}?api-version=2021-04-12`, { policy: 'service', ...body });
    expect(azureError(answer)).toEqual([501, 404013]);
    expect(answer.headers['iothub-errorcode']).toBe('FeatureNotSupported');
    expect(answer.body).toContain('carries streams only');
  });

  it('does not stand in the way of a device that is called like it', async () => {
    expect((await rest.call('GET', '/devices/query')).status).toBe(200);
    expect((await rest.call('PUT', '/devices/query', { headers: { 'if-match': '*' }, body: {} })).status).toBe(200);
  });

  it('is answered without authentication, whatever the request', async () => {
    for (const body of ['raw telemetry', 'x'.repeat(262_144)]) {
      const answer = await rest.call('POST', '/devices/d/messages/events', { authorization: 'nobody', body });
      expect(azureError(answer)).toEqual([501, 404013]);
    }
  });
});
