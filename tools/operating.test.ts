import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { DeviceClient } from '@culvert/device';
import { echoOffer, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '..');

/** Returns the code blocks in one language of a page in docs/operating, in order. */
function blocks(page: string, language: 'sh' | 'ts'): string[] {
  const text = readFileSync(join(root, 'docs/operating', page), 'utf8');
  return [...text.matchAll(new RegExp(`\`\`\`${language}\n([\\s\\S]*?)\`\`\``, 'g'))].map(
    (match) => match[1] as string,
  );
}

const commands = (page: string) =>
  blocks(page, 'sh').flatMap((block) => block.split('\n').filter((line) => line.startsWith('culvert ')));

let test: TestHub;
let device: DeviceClient;
let streamId: string;
const children: ChildProcess[] = [];

beforeAll(async () => {
  test = await startHub();
  const { outbound } = test;
  device = DeviceClient.fromConnectionString(await test.createDevice('press-7'), { onStream: echoOffer, outbound });
  await device.open();
  const stream = await test.owner.openStream('press-7', { name: 'ssh' });
  stream.on('error', () => undefined);
  streamId = (await test.event('stream-established')).streamId;
});
afterAll(async () => {
  for (const child of children) child.kill();
  await device.close();
  await test.stop();
});

/** Runs a program and resolves with its output when it has ended; for a program that does not end, when it has printed something. */
async function run(file: string, args: readonly string[]): Promise<string> {
  const env = {
    ...process.env,
    CULVERT_DATA_DIR: test.directory,
    CULVERT_CA_FILE: join(test.directory, 'ca.pem'),
    NODE_EXTRA_CA_CERTS: join(test.directory, 'ca.pem'),
    ...(args.includes('-e') ? { CULVERT_CONNECTION_STRING: test.ownerConnectionString } : {}),
  };
  const child = spawn(file, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    printed += text;
  });
  if (args.includes('--follow')) {
    await once(child.stdout, 'data');
    child.kill();
  } else {
    expect(await once(child, 'close')).toEqual([0, null]);
  }
  return printed;
}

const node = ['--conditions=development', 'packages/cli/src/main.fixture.ts'];

describe('the pages on operating', () => {
  it.each([...commands('live-view.md').slice(0, -1), ...commands('limits.md'), ...commands('live-view.md').slice(-1)])(
    '%s',
    async (command) => {
      const words = command.replaceAll('$STREAM', streamId).match(/"[^"]*"|\S+/g) ?? [];
      const args = words.slice(1).map((word) => word.replaceAll('"', ''));
      const printed = await run(process.execPath, [...node, ...args]);
      if (args[1] === 'close') {
        const { record } = await test.event('stream-ended');
        expect(record.detail).toBe('An administrator closed the stream: maintenance at noon');
      } else {
        expect(printed).toMatch(/press-7|streamsPerDevice/);
      }
    },
  );

  it('have code that follows streams', async () => {
    const [code = ''] = blocks('live-view.md', 'ts');
    const args = ['--conditions=development', '--input-type=module-typescript', '-e', code];
    expect(await run(process.execPath, args)).toMatch(/^there since \d{4}-/);
  });
});
