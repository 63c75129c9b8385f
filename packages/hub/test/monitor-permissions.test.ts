import { request as httpsRequest } from 'node:https';
import { parseServiceConnectionString, signSasToken } from '@culvert/protocol';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

let test: TestHub;
beforeAll(async () => {
  test = await startHub();
  await test.createDevice('d');
  const { primaryKey } = (await test.owner.devices.get('d')).authentication.symmetricKey;
  deviceKey = primaryKey ?? '';
});
afterAll(() => test.stop());

let deviceKey = '';

const ID = '0'.repeat(32);

/** Every route of the live view, and the status that a permitted caller receives in this test, in which no stream exists. */
const ROUTES = [
  ['GET', '/streams', 200],
  ['GET', `/streams/${ID}`, 404],
  ['GET', '/streams/events', 200],
  ['GET', '/devices/events', 200],
  ['GET', '/devices/d/presence', 200],
  ['GET', '/devices/d/modules/m/presence', 404],
  ['GET', '/limits', 200],
  ['DELETE', `/streams/${ID}`, 404],
] as const;

/** For each policy, whether it permits to read the live view and to close streams. */
const MAY: Readonly<Record<string, { readonly look: boolean; readonly close: boolean }>> = {
  iothubowner: { look: true, close: true },
  service: { look: false, close: false },
  device: { look: false, close: false },
  registryRead: { look: false, close: false },
  registryReadWrite: { look: false, close: true },
  monitor: { look: true, close: false },
};

interface Answer {
  readonly status: number | undefined;
  readonly type: string | undefined;
  readonly body: string;
}

async function call(method: string, path: string, authorization: string | undefined): Promise<Answer> {
  const headers = { accept: 'text/event-stream', ...(authorization === undefined ? {} : { authorization }) };
  return new Promise((resolve, reject) => {
    const request = httpsRequest(
      { host: '127.0.0.1', port: test.port, ca: test.ca, agent: false, method, path, headers },
      (response) => {
        const { statusCode: status } = response;
        const type = response.headers['content-type'];
        let body = '';
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text;
          // The response of an event stream does not end, so stop reading after the `ready` event.
          if (!body.includes('event: ready')) return;
          resolve({ status, type, body });
          request.destroy();
        });
        response.on('end', () => resolve({ status, type, body })).on('error', () => undefined);
      },
    );
    request.on('error', reject).end();
  });
}

async function policyToken(policy: string): Promise<string> {
  const { key } = parseServiceConnectionString(await test.policy(policy));
  const expiry = Math.floor(Date.now() / 1_000) + 600;
  return signSasToken({ audience: `127.0.0.1:${test.port}`, key, policy, expiry });
}

const TABLE = Object.entries(MAY).flatMap(([policy, may]) =>
  ROUTES.map(
    ([method, path, status]) =>
      [policy, method, path, (method === 'DELETE' ? may.close : may.look) ? status : 401] as const,
  ),
);

describe('the policy', () => {
  it.each(TABLE)('%s, on %s %s, gets %i', async (policy, method, path, status) => {
    const answer = await call(method, path, await policyToken(policy));
    expect(answer.status).toBe(status);
    if (status !== 401) return;
    expect(answer.type).toBe('application/problem+json; charset=utf-8');
    const permission = method === 'DELETE' ? 'RegistryWrite' : 'MonitorRead';
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'forbidden', detail: expect.stringContaining(permission) });
  });

  it('there is none beside these', async () => {
    expect((await test.owner.policies.list()).map(({ name }) => name).sort()).toEqual(Object.keys(MAY).sort());
  });
});

it.each(ROUTES)('a device’s own key is of no use on %s %s, and neither is no credential', async (method, path) => {
  const expiry = Math.floor(Date.now() / 1_000) + 600;
  const own = await signSasToken({ audience: `127.0.0.1:${test.port}/devices/d`, key: deviceKey, expiry });
  for (const authorization of [own, undefined]) {
    const answer = await call(method, path, authorization);
    expect(answer.status).toBe(401);
    // If the path contains the device's id, the hub authenticates the device with its key, and then refuses the request as forbidden.
    expect(['unauthorized', 'forbidden']).toContain(JSON.parse(answer.body).code);
  }
});
