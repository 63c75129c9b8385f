import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startCulvert } from '../culvert.fixture.ts';
import { prove } from './prove.ts';
import { type Quickstart, startQuickstart } from './start.ts';

let directory: string;
let problems: string[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-quickstart-'));
  problems = [];
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const start = (ports: Record<string, number> = {}, dataDir = directory): Promise<Quickstart> =>
  startQuickstart({ listen: '127.0.0.1:0', dataDir, onProblem: (text) => problems.push(text), ports });

function portOf({ listeners }: Quickstart, name: string): number {
  const found = listeners.find((listener) => listener.name === name);
  if (found === undefined) throw new Error(`nothing offers ${name}`);
  return found.port;
}

describe('the quickstart', () => {
  it('serves a page and an echo through the tunnel, and starts again on the same data', async () => {
    for (const visit of ['first', 'second']) {
      const running = await start();
      const answer = await fetch(`http://127.0.0.1:${portOf(running, 'web')}/`, { headers: { connection: 'close' } });
      expect(await answer.text(), visit).toContain('You reached the device <code>demo</code> through Culvert.');
      expect((await prove(portOf(running, 'echo'))).sha256).toMatch(/^[0-9a-f]{64}$/);
      await running.stop();
    }
    expect(problems).toEqual([]);
  });

  it('takes a free port where its own is taken, and says so', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const address = other.address();
    const taken = typeof address === 'object' && address !== null ? address.port : 0;
    const running = await start({ web: taken });
    expect(running.listeners.find(({ name }) => name === 'web')).toMatchObject({ taken });
    expect(portOf(running, 'web')).not.toBe(taken);
    await running.stop();

    const refused = startQuickstart({ listen: `127.0.0.1:${taken}`, dataDir: directory, onProblem: () => undefined });
    await expect(refused).rejects.toThrow(`127.0.0.1:${taken} is in use by another program`);
    await new Promise((resolve) => other.close(resolve));
  });

  it.each([
    ['a flag', ['--data-dir', '.'], {}],
    // Another terminal does not have the variable.
    ['the environment', [], { CULVERT_DATA_DIR: '.' }],
  ])('prints what runs where, on data named by %s, and leaves politely at Ctrl-C', async (_by, flags, env) => {
    const named = (text: string): string => text.replace(/^\.$/, directory);
    const environment = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, named(value)]));
    const running = startCulvert(['quickstart', '--listen', '127.0.0.1:0', ...flags.map(named)], environment);
    expect(await running.line(/^It works: /)).toMatch(
      /^It works: 1 MiB went through the tunnel to the device and back in \d+ ms/,
    );
    await running.line(/^Ctrl-C stops it/);
    running.child.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toContain(`npx --no-install culvert device list --data-dir ${directory}`);
  });
});
