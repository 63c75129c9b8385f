import { duplexPair } from 'node:stream';
import type { DeviceClientOptions } from '@culvert/device';
import { CulvertError } from '@culvert/protocol';
import { describe, expect, it } from 'vitest';
import { deferred } from '../deferred.ts';
import { loopback } from '../loopback.fixture.ts';
import { type Agent, startAgent } from './agent.ts';
import type { AgentClient } from './agent-connection.ts';

const connectionString = 'HostName=localhost:1;DeviceId=d;SharedAccessKey=c2VjcmV0';

function started(options: { services: [string, number][]; open?: () => Promise<void> }): {
  agent: Agent;
  client: DeviceClientOptions;
  calls: string[];
} {
  let given: DeviceClientOptions | undefined;
  const calls: string[] = [];
  const create = (_text: string, clientOptions: DeviceClientOptions): AgentClient => {
    given = clientOptions;
    return {
      open: options.open ?? (() => Promise.resolve()),
      close: () => {
        calls.push('close');
        return Promise.resolve();
      },
    };
  };
  const services = new Map(options.services.map(([name, port]) => [name, { host: '127.0.0.1', port }]));
  const agent = startAgent({ connectionString, services }, create);
  if (given === undefined) throw new Error('no client was made');
  return { agent, client: given, calls };
}

describe('startAgent', () => {
  it('refuses a default service that is not in the list', () => {
    const make = (): Agent => startAgent({ connectionString, services: new Map(), defaultService: 'ssh' });
    expect(make).toThrow("The default service 'ssh' is not among the services.");
  });

  it('tells a permanent refusal', async () => {
    const refused = new CulvertError('unauthorized', 'wrong key');
    const first = started({ services: [], open: () => Promise.reject(refused) });
    await expect(first.agent.attached).rejects.toBe(refused);
    await expect(first.agent.closed).rejects.toBe(refused);
  });

  it('closes when its last stream has ended', async () => {
    const echo = await loopback((socket) => socket.pipe(socket));
    const { agent, client, calls } = started({ services: [['echo', echo.port]] });
    const [near, far] = duplexPair();
    const offered = client.onStream({
      name: 'echo',
      streamId: undefined,
      caller: undefined,
      accept: () => Promise.resolve(near),
      acceptWebSocket: () => Promise.reject(new Error('not used')),
      reject: () => Promise.resolve(),
    });
    far.write('still here');
    await new Promise((resolve) => far.once('data', resolve));
    const closed = agent.close();
    expect(agent.streams).toBe(1);
    far.end();
    await Promise.all([closed, agent.closed, offered]);
    expect(calls).toEqual(['close']);
    expect(agent.streams).toBe(0);
    await echo.stop();
  });

  it('ends streams that outlast the grace', async () => {
    const silent = await loopback(() => undefined);
    const { agent, client } = started({ services: [['silent', silent.port]] });
    const [near, far] = duplexPair();
    far.on('error', () => undefined);
    const opened = deferred();
    const offered = client.onStream({
      name: 'silent',
      streamId: undefined,
      caller: undefined,
      accept: () => {
        opened.resolve();
        return Promise.resolve(near);
      },
      acceptWebSocket: () => Promise.reject(new Error('not used')),
      reject: () => Promise.resolve(),
    });
    await opened.promise;
    await agent.close(1);
    await offered;
    expect(near.errored).toMatchObject({ code: 'draining' });
    await silent.stop();
  });
});
