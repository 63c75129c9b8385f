import { once } from 'node:events';
import { createServer } from 'node:net';
import { afterEach, expect, it } from 'vitest';
import { Cleanup } from './support/cleanup.ts';
import { culvert } from './support/culvert.ts';
import { listenLocally } from './support/free-port.ts';
import { HubProcess } from './support/hub-process.ts';
import { cleanEnvironment } from './support/program.ts';
import { startAgent } from './support/proxies.ts';

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

it('a raw stream that was open when the hub was killed is in the audit record and the log, once, with what is known', async () => {
  const hub = await HubProcess.start(cleanup);
  const owner = hub.owner(cleanup);
  const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
  await startAgent(cleanup, hub, 'press-7', [`echo=127.0.0.1:${await listenLocally(cleanup, server)}`]);
  const ended = await owner.openStream('press-7', { name: 'echo', raw: true });
  ended.end('done');
  await ended.toArray();
  const open = await owner.openStream('press-7', { name: 'echo', raw: true });
  open.write('hello');
  await once(open, 'data');
  const lost = once(open, 'error');
  // The audit record of the established stream is on disk before the hub is killed.
  const env = cleanEnvironment({ HOME: hub.home });
  const list = async (...flags: string[]) => {
    const args = ['audit', 'list', '--data-dir', hub.dataDir, '--device', 'press-7', ...flags];
    return (await culvert(args, { env })).stdout;
  };
  const of = async (type: string) =>
    (await list('--type', type, '--output', 'json'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line).stream as Record<string, unknown>);
  expect(await of('stream-established')).toHaveLength(2);

  await hub.stop('SIGKILL');
  expect(await lost).toMatchObject([{ code: 'stream_lost' }]);
  for (let start = 0; start < 2; start++) {
    await hub.start();
    const [first, second, ...more] = await of('stream-ended');
    expect([first, second, more]).toMatchObject([
      { cause: 'ended_by_service' },
      {
        cause: 'hub_died',
        error: 'stream_lost',
        caller: 'policy:iothubowner',
        knownUntil: expect.stringMatching(/Z$/),
      },
      [],
    ]);
    expect(second).not.toHaveProperty('endedAt');
    expect(await list()).toMatch(/ echo +press-7 +policy:iothubowner +hub_died\n/);
    const logs = await culvert(['logs', '--data-dir', hub.dataDir, '--device', 'press-7'], { env });
    expect(logs.stdout.match(/streamClose +press-7 +stream_lost +echo: The hub ended without a word/g)).toHaveLength(1);
    await hub.stop(start === 0 ? 'SIGKILL' : 'SIGTERM');
  }
  const verified = await culvert(['audit', 'verify', '--data-dir', hub.dataDir], { env });
  expect(verified).toMatchObject({ code: 0, stdout: expect.stringContaining('unbroken; signed up to record') });
});
