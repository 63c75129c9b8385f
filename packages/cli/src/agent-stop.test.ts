import { join } from 'node:path';
import { ServiceClient } from '@culvert/service';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Running, startCulvert } from './culvert.fixture.ts';

let hub: TestHub;
let service: ServiceClient;
let agent: Running;

beforeEach(async () => {
  hub = await startHub();
  service = ServiceClient.fromConnectionString(await hub.policy('service'), { outbound: hub.outbound });
  const env = {
    CULVERT_CA_FILE: join(hub.directory, 'ca.pem'),
    CULVERT_DEVICE_CONNECTION_STRING: await hub.createDevice('d'),
  };
  agent = startCulvert(['agent', '--service', 'ssh=1', '--output', 'json'], env);
  await agent.line(/"attached"/);
});
afterEach(async () => {
  agent.child.kill('SIGKILL');
  await agent.ended;
  service.close();
  await hub.stop();
});

it('a second signal ends the sessions of an agent with a reason', async () => {
  const stream = await service.openStream('d', { name: 'culvert-echo' });
  const failed = new Promise((resolve) => stream.once('error', resolve));
  const { sessionId } = JSON.parse(await agent.line(/"session-linked"/));
  expect(sessionId).toMatch(/^[0-9a-f]{32}$/);
  expect(JSON.parse(await agent.line(/"stream-opened"/))).toMatchObject({ sessionId });
  agent.child.kill('SIGTERM');
  await agent.line(/stopping when 1 open stream has ended/);
  agent.child.kill('SIGTERM');
  expect(await failed).toMatchObject({ code: 'draining', message: 'The agent was stopped.' });
  const { code, stdout } = await agent.ended;
  expect(code).toBe(143);
  const ended = stdout.split('\n').filter((line) => line.includes('"session-ended"'));
  expect(ended.map((line) => JSON.parse(line))).toMatchObject([
    { sessionId, reason: 'draining', text: 'The agent was stopped.' },
  ]);
});
