import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { signSasToken } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { expect, it } from 'vitest';
import { Authenticator } from '../auth/authenticate.ts';
import { Router } from '../control/router.ts';
import type { HubEvent } from '../observe/events.ts';
import { LiveStreams } from '../observe/live-streams.ts';
import type { AuthorityStore, PolicyStore, Registry } from '../registry/registry.ts';
import { createApi } from './app.ts';
import { Subscribers } from './event-stream/subscribers.ts';

it('says nothing of its own faults to the caller, and to the log where they are', async () => {
  const fail = () => Promise.reject(new RangeError('key secret42'));
  const registry: Registry = {
    ...{ get: fail, lookup: fail, remembers: () => false, put: fail, delete: fail },
    ...{ list: fail, modules: fail, count: fail },
  };
  const authorities: AuthorityStore = { get: fail, list: fail, put: fail, delete: fail };
  const policies: PolicyStore = { get: fail, lookup: fail, list: fail, rotate: fail };
  const events: HubEvent[] = [];
  const api = await createApi({
    registry,
    authorities,
    policies,
    authenticator: new Authenticator({ registry, policies, authorities, audiences: ['hub'], clock: systemClock }),
    router: new Router(systemClock),
    audit: { read: fail },
    requestStream: fail,
    hold: () => () => undefined,
    sessionReports: { fromService: () => undefined },
    live: {
      streams: new LiveStreams({ clock: systemClock, onEvent: () => undefined, gateway: () => 'hub:443' }),
      counters: () => undefined,
      closable: () => [],
      closeStream: () => false,
      claims: () => [],
      lastDisconnect: () => Promise.resolve(undefined),
      subscribers: new Subscribers(systemClock),
      subscribe: () => () => undefined,
    },
    limitViews: () => [],
    logs: { list: fail, follow: () => ({ position: undefined, close() {}, async *[Symbol.asyncIterator]() {} }) },
    endpoints: () => ({ hostName: 'hub', streamingEndpoints: [] }),
    policyConnectionString: () => '',
    onAuthenticated: () => undefined,
    clock: systemClock,
    onEvent: (event) => events.push(event),
    limits: { maxBodyBytes: 1_024 },
  });
  const server = createServer(api.handle).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const expiry = Math.floor(Date.now() / 1000) + 60;
  const authorization = await signSasToken({ audience: 'hub', key: 'AAAA', policy: 'service', expiry });
  const { port } = server.address() as AddressInfo;
  const answer = await fetch(`http://127.0.0.1:${port}/devices/d`, { headers: { authorization, connection: 'close' } });
  const body = await answer.text();
  expect(answer.status).toBe(500);
  expect(body).not.toContain('secret42');
  const fault = events.find((event) => event.type === 'fault');
  expect(fault).toMatchObject({
    where: 'GET /devices/:deviceId',
    problem: expect.stringMatching(/ RangeError at .*app\.test/),
  });
  expect(JSON.stringify(events)).not.toContain('secret42');
  server.close();
  await api.close();
});
