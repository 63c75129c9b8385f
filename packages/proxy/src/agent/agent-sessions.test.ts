import { once } from 'node:events';
import type { Duplex } from 'node:stream';
import { CulvertError } from '@culvert/protocol';
import { ServiceClient, type ServiceSessionEvent } from '@culvert/service';
import { ConnectProxy, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Agent, startAgent } from './agent.ts';
import type { AgentEvent } from './agent-events.ts';
import { ECHO_SERVICE } from './answer-offer.ts';

const SERVICES = { services: new Map([['ssh', { host: '127.0.0.1', port: 22 }]]) };

let hub: TestHub;
let proxy: ConnectProxy;
let service: ServiceClient;
let connectionString: string;
let serviceEvents: ServiceSessionEvent[];
const agents: Agent[] = [];

beforeEach(async () => {
  hub = await startHub();
  proxy = await ConnectProxy.start();
  connectionString = await hub.createDevice('d');
  serviceEvents = [];
  service = ServiceClient.fromConnectionString(await hub.policy('service'), {
    outbound: { ca: hub.ca, proxy: proxy.url },
    session: { onEvent: (event) => serviceEvents.push(event) },
  });
});
afterEach(async () => {
  service.close();
  for (const agent of agents.splice(0)) await agent.destroy(new CulvertError('draining', 'The test is over.'));
  await proxy.stop();
  await hub.stop();
});

async function start(events: AgentEvent[] = []): Promise<Agent> {
  const { outbound } = hub;
  const agent = startAgent({ connectionString, outbound, ...SERVICES, onEvent: (event) => events.push(event) });
  agents.push(agent);
  await agent.attached;
  return agent;
}

async function open(): Promise<Duplex> {
  const stream = await service.openStream('d', { name: ECHO_SERVICE });
  return stream.on('error', () => undefined);
}

async function roundTrip(stream: Duplex): Promise<string> {
  stream.write('hello');
  return String((await once(stream, 'data'))[0]);
}

const requests = () => hub.events.filter(({ type }) => type === 'stream-requested').length;

describe('sessions of an agent', () => {
  it('survive another address, and are resumed over the connection to it', async () => {
    const events: AgentEvent[] = [];
    const agent = await start(events);
    const stream = await open();
    await roundTrip(stream);
    const { authentication } = await hub.owner.devices.get('d');
    const { primaryKey, secondaryKey } = authentication.symmetricKey;
    const attached = hub.events.filter(({ type }) => type === 'device-attached').length;
    agent.reload(SERVICES, {
      connectionString: connectionString.replace(primaryKey ?? '', secondaryKey ?? ''),
      outbound: hub.outbound,
    });
    await expect.poll(() => hub.events.filter(({ type }) => type === 'device-attached').length).toBe(attached + 1);
    await hub.event('device-detached');
    expect(await roundTrip(stream)).toBe('hello');
    const second = await open();
    expect(await roundTrip(second)).toBe('hello');
    expect(requests()).toBe(1);
    const regained = once(stream, 'linkRegained');
    proxy.cut();
    await regained;
    expect([await roundTrip(stream), await roundTrip(second)]).toEqual(['hello', 'hello']);
    const linked = events.filter((event) => event.type === 'session-linked');
    expect(linked).toMatchObject([{ isFirst: true }, { isFirst: false }]);
    expect(new Set(linked.map(({ sessionId }) => sessionId)).size).toBe(1);
    const opened = events.filter((event) => event.type === 'stream-opened');
    expect(opened.map(({ sessionId }) => sessionId)).toEqual([linked[0]?.sessionId, linked[0]?.sessionId]);
  });

  it('refuse new connections while the agent drains, which go to a new session with its successor', async () => {
    const first = await start();
    const stream = await open();
    await roundTrip(stream);
    const closed = first.close(600_000);
    await hub.event('device-detached');
    await start();
    // What it sends goes along: the first agent has refused it, and has done nothing with it.
    const second = await service.openStream('d', { name: ECHO_SERVICE, early: true });
    second.on('error', () => undefined);
    expect([await roundTrip(second), await roundTrip(stream)]).toEqual(['hello', 'hello']);
    const sessions = hub.events.filter((event) => event.type === 'stream-requested').map(({ sessionId }) => sessionId);
    expect(new Set(sessions).size).toBe(2);
    stream.end();
    await once(stream.resume(), 'end');
    await closed;
    expect(await roundTrip(second)).toBe('hello');
  });

  it.each<[string, (agent: Agent) => Promise<void>, string]>([
    ['the grace is over', (agent) => agent.close(0), 'The agent is stopping.'],
    [
      'it is stopped at once',
      (agent) => agent.destroy(new CulvertError('draining', 'The agent was stopped.')),
      'The agent was stopped.',
    ],
  ])('end with a reason when %s', async (_, stop, text) => {
    const agent = await start();
    const stream = await open();
    await roundTrip(stream);
    const failed = new Promise((resolve) => stream.once('error', resolve));
    await stop(agent);
    expect(await failed).toMatchObject({ code: 'draining', message: text });
    await expect
      .poll(() => serviceEvents)
      .toMatchObject([{ type: 'unencrypted' }, { type: 'session-ended', reason: 'draining', text }]);
    expect(serviceEvents[0]?.sessionId).toMatch(/^[0-9a-f]{32}$/);
  });
});
