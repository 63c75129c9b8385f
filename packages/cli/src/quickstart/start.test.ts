import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startCulvert } from '../culvert.fixture.ts';
import { quickstartDirectory } from '../data-directory.ts';
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

  it('takes a free port where the hub’s usual one is taken, unless that was asked for', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const address = other.address();
    const usual = `127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const options = { usual, dataDir: directory, onProblem: (text: string) => problems.push(text), ports: {} };
    const running = await startQuickstart(options);
    expect(running.taken).toBe(usual);
    expect(running.hub.hostName).toMatch(/^127\.0\.0\.1:\d+$/);
    expect(running.hub.hostName).not.toBe(usual);
    expect((await prove(portOf(running, 'echo'))).sha256).toMatch(/^[0-9a-f]{64}$/);
    await running.stop();
    await new Promise((resolve) => other.close(resolve));
    expect(problems).toEqual([]);
  });

  it('has a directory of its own, beside the hub’s', () => {
    expect(quickstartDirectory({}, 0, '/root')).toBe('/var/lib/culvert-quickstart');
    expect(quickstartDirectory({ XDG_DATA_HOME: '/data' }, 1000, '/home/u')).toBe('/data/culvert-quickstart');
    expect(quickstartDirectory({}, 1000, '/home/u')).toBe('/home/u/.local/share/culvert-quickstart');
  });

  it('prints what runs where, leaves a hub’s directory alone, and ends cleanly at Ctrl-C', async () => {
    const [own, hubs] = [join(directory, 'own'), join(directory, 'hub')];
    const args = ['quickstart', '--listen', '127.0.0.1:0', '--data-dir', own];
    const running = startCulvert(args, { CULVERT_DATA_DIR: hubs });
    expect(await running.line(/^It works: /)).toMatch(
      /^It works: 1 MiB went through the tunnel to the device and back in \d+ ms/,
    );
    await running.line(/^Ctrl-C stops it/);
    running.child.kill('SIGINT');
    const { code, stdout } = await running.ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ {2}\S*node \S*\/main\.fixture\.ts device list --data-dir \S*\/own$/m);
    expect(existsSync(hubs)).toBe(false);
  });
});
