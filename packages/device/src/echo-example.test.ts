import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, expect, it } from 'vitest';

const EXAMPLE = fileURLToPath(new URL('../../../examples/echo/', import.meta.url));

let hub: TestHub;
const programs: ChildProcess[] = [];

beforeEach(async () => {
  hub = await startHub();
});

afterEach(async () => {
  for (const program of programs.splice(0)) program.kill('SIGKILL');
  await hub.stop();
});

function start(args: string[], env: NodeJS.ProcessEnv) {
  const program = spawn(process.execPath, ['--conditions=development', ...args], {
    cwd: EXAMPLE,
    env: { ...process.env, NODE_OPTIONS: '', CULVERT_CA_FILE: join(hub.directory, 'ca.pem'), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  programs.push(program);
  return program;
}

it('the echo example echoes', async () => {
  const device = start(['device.ts'], { CULVERT_DEVICE_CONNECTION_STRING: await hub.createDevice('d1') });
  const said = text(device.stdout);
  await hub.event('device-attached');
  const service = start(['service.ts', 'd1', 'hello, device'], {
    CULVERT_CONNECTION_STRING: await hub.policy('service'),
  });
  expect(await text(service.stdout)).toBe('hello, device\n');
  device.kill('SIGTERM');
  const [code] = await once(device, 'exit');
  expect(code).toBe(0);
  expect(await said).toBe('connecting\nattached\nechoing for policy:service\nclosed\n');
});
