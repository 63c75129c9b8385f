import { createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { type CorporateNetwork, corporateNetwork } from './support/corporate-network.ts';
import { culvertCommand } from './support/culvert.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment, Program, run } from './support/program.ts';
import { startAgent } from './support/proxies.ts';

const cleanup = new Cleanup();
let hub: HubProcess;
let network: CorporateNetwork;
let echo: string;

beforeAll(async () => {
  hub = await HubProcess.start(cleanup);
  network = await corporateNetwork(cleanup, hub.port);
  const server = createServer((socket) => socket.pipe(socket));
  echo = `echo=127.0.0.1:${await listenLocally(cleanup, server)}`;
});
afterAll(() => cleanup.run());

/** Returns a command line that runs inside the network. */
function inside(command: string, args: readonly string[]): [command: string, args: string[]] {
  const [first = command, ...rest] = [...network.prefix, command, ...args];
  return [first, rest];
}

test('the network lets through CONNECT to the hub and nothing else', async () => {
  const curl = async (...args: string[]) => {
    const format = ['-sk', '-o', '/dev/null', '-w', '%{http_code} %{http_connect}', '--max-time', '10'];
    return (await run(...inside('curl', [...format, ...args]), { env: cleanEnvironment() })).stdout;
  };
  const proxy = ['--proxy', network.proxyUrl];
  expect(await curl(`https://127.0.0.1:${hub.port}/`)).toBe('000 000');
  expect(await curl(...proxy, `http://127.0.0.1:${hub.port}/`)).toBe('403 000');
  expect(await curl(...proxy, '--proxytunnel', `http://127.0.0.1:${hub.port + 1}/`)).toBe('000 403');
  expect(await curl(...proxy, `https://127.0.0.1:${hub.port}/`)).toBe('200 200');
});

test('an agent inside it serves streams', async () => {
  const connectionString = await hub.createDevice('plant');
  const agent = new Program(...inside(...culvertCommand('agent', '--service', 'echo=127.0.0.1:7')), {
    env: cleanEnvironment({
      HOME: hub.home,
      HTTPS_PROXY: network.proxyUrl,
      CULVERT_DEVICE_CONNECTION_STRING: connectionString,
      CULVERT_CA_FILE: hub.caFile,
    }),
  });
  cleanup.defer(agent, () => agent.stop());
  // The target is inside the network too: an echo server on the loopback interface of the namespace.
  const target = `require('node:net').createServer((s) => s.pipe(s)).listen(7, '127.0.0.1', () => console.log('open'))`;
  const server = new Program(...inside(process.execPath, ['-e', target]));
  cleanup.defer(server, () => server.stop());
  await server.waitFor(/open/);
  const owner = hub.owner(cleanup);
  await hub.connected(owner, 'plant');

  const stream = await owner.openStream('plant', { name: 'echo' });
  stream.end('out of the plant');
  expect(Buffer.concat(await stream.toArray()).toString()).toBe('out of the plant');
  // The control channel and the stream use one CONNECT each.
  expect(network.proxyLog().match(/CONNECT 127\.0\.0\.1:/g)?.length).toBeGreaterThanOrEqual(2);
});

test('culvert connect --stdio inside it reaches a device', async () => {
  await startAgent(cleanup, hub, 'outside', [echo]);
  const env = cleanEnvironment({ ...hub.serviceEnv(), HTTPS_PROXY: network.proxyUrl });
  const [command, args] = inside(...culvertCommand('connect', '--stdio', '--', 'outside', 'echo'));
  const result = await run(command, args, { env, input: 'into the world' });
  expect(result, result.stderr).toMatchObject({ code: 0, stdout: 'into the world' });
});

test('without the proxy the agent says what it cannot reach and keeps trying', async () => {
  const connectionString = await hub.createDevice('cut-off');
  const [command, args] = inside(...culvertCommand('agent', '--service', 'echo=127.0.0.1:7'));
  const env = { HOME: hub.home, CULVERT_DEVICE_CONNECTION_STRING: connectionString, CULVERT_CA_FILE: hub.caFile };
  const agent = new Program(command, args, { env: cleanEnvironment(env) });
  cleanup.defer(agent, () => agent.stop());
  await agent.waitFor(new RegExp(`127\\.0\\.0\\.1:${hub.port}`));
  expect(agent.running).toBe(true);
});
