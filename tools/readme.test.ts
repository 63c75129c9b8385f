import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** The TypeScript blocks of a document, in order. */
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

/** Runs a block as a program of its own, where the packages resolve. */
function run(code: string, env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, ['--conditions=development', '--input-type=module-typescript', '-e', code], {
    cwd: root,
    env: { ...process.env, NODE_EXTRA_CA_CERTS: join(test.directory, 'ca.pem'), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  return child;
}

describe('README.md', () => {
  it('has a device and a service that talk to each other', async () => {
    const [service = '', device = ''] = blocks('README.md');
    run(device, { CULVERT_DEVICE_CONNECTION_STRING: await test.createDevice('press-7') });
    await test.event('device-attached');
    const program = run(service, { CULVERT_CONNECTION_STRING: await test.policy('service') });
    let printed = '';
    program.stdout?.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
    });
    expect(await once(program, 'close')).toEqual([0, null]);
    expect(printed).toBe('hello');
  });
});
