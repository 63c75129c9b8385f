import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** Returns the TypeScript code blocks of a document, in order. */
function blocks(path: string): string[] {
  return [...readFileSync(join(root, path), 'utf8').matchAll(/```ts\n([\s\S]*?)```/g)].map(
    (match) => match[1] as string,
  );
}

let test: TestHub;
const children: ChildProcess[] = [];

beforeEach(async () => {
  test = await startHub();
});

afterEach(async () => {
  for (const child of children.splice(0)) {
    child.kill();
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  }
  await test.stop();
});

/** Runs a code block as a program in the root directory, where it can import the packages. */
function run(code: string, env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, ['--conditions=development', '--input-type=module-typescript', '-e', code], {
    cwd: root,
    env: { ...process.env, NODE_EXTRA_CA_CERTS: join(test.directory, 'ca.pem'), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

/** Returns the output of a program when it has ended. The program must exit with code 0. */
async function output(program: ChildProcess): Promise<string> {
  let printed = '';
  program.stdout?.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  expect(await once(program, 'close')).toEqual([0, null]);
  return printed;
}

describe('README.md', () => {
  it('has a device and a service that talk to each other', async () => {
    const [service = '', device = ''] = blocks('README.md');
    run(device, { CULVERT_DEVICE_CONNECTION_STRING: await test.createDevice('press-7') });
    await test.event('device-attached');
    const program = run(service, { CULVERT_CONNECTION_STRING: await test.policy('service') });
    expect(await output(program)).toBe('hello');
  });
});

describe('the packages’ READMEs', () => {
  it('have a service that lists devices and opens a stream', async () => {
    const [device = ''] = blocks('README.md').slice(1);
    const [service = ''] = blocks('packages/service/README.md');
    run(device, { CULVERT_DEVICE_CONNECTION_STRING: await test.createDevice('my-device') });
    await test.event('device-attached');
    const printed = await output(run(service, { CULVERT_CONNECTION_STRING: test.ownerConnectionString }));
    expect(printed).toBe('my-device Connected\nhello\n');
  });

  it('have a device that serves ssh and nothing else', async () => {
    const [device = ''] = blocks('packages/device/README.md');
    run(device, { CULVERT_DEVICE_CONNECTION_STRING: await test.createDevice('d') });
    await test.event('device-attached');
    const refused = test.owner.openStream('d', { name: 'web' });
    await expect(refused).rejects.toMatchObject({
      code: 'rejected',
      message: expect.stringContaining('Only ssh is served here'),
    });
  });
});

describe('docs/operating/logs.md', () => {
  it('has a service that lists what failed', async () => {
    await test.createDevice('press-7');
    const refused = test.owner.openStream('press-7', { name: 'ssh', connectTimeoutMs: 0 });
    await expect(refused).rejects.toMatchObject({ code: 'device_offline' });
    const [service = ''] = blocks('docs/operating/logs.md');
    const printed = await output(run(service, { CULVERT_CONNECTION_STRING: await test.policy('monitor') }));
    expect(printed).toMatch(/^invoke press-7: .*\n$/);
  });
});
