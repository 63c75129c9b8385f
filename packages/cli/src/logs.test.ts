import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeviceClient } from '@culvert/device';
import { echoOffer, startHub, type TestHub } from '@culvert/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { culvert, startCulvert } from './culvert.fixture.ts';
import { logLine } from './log-lines.ts';

it('a line of the log fits a terminal and cannot steer it', () => {
  const properties = {
    ...{ deviceId: 'press-7', requestName: 'ssh', caller: 'policy:service', error: 'device_offline' },
    detail: 'a\u001b[2J\nb',
  };
  const line = logLine({
    ...{ time: '2026-01-31T12:00:00.123Z', resourceId: 'r', operationName: 'invoke', category: 'DeviceStreams' },
    ...{ resultType: '404103', resultDescription: 'DeviceNotOnline', level: 'Error', durationMs: '1', location: 'l' },
    properties: JSON.stringify(properties),
  });
  expect(line).toBe(
    '2026-01-31T12:00:00Z  invoke             press-7         device_offline    ssh for policy:service: a\\u001b[2J\\u000ab\n',
  );
});

describe('culvert logs', () => {
  let hub: TestHub;
  let device: DeviceClient;
  let monitor: NodeJS.ProcessEnv;

  beforeAll(async () => {
    hub = await startHub();
    const text = await hub.createDevice('press-7');
    device = DeviceClient.fromConnectionString(text, { onStream: echoOffer, outbound: hub.outbound });
    await device.open();
    for (let n = 0; n < 2; n++) await use(hub);
    monitor = {
      CULVERT_CA_FILE: join(hub.directory, 'ca.pem'),
      CULVERT_CONNECTION_STRING: await hub.policy('monitor'),
    };
  });
  afterAll(async () => {
    await device.close();
    await hub.stop();
  });

  async function use({ owner, events, event }: TestHub): Promise<void> {
    const seen = events.length;
    const stream = await owner.openStream('press-7', { name: 'echo', raw: true });
    await event('stream-established', (joined) => events.indexOf(joined) >= seen);
    stream.end();
    await once(stream.resume(), 'close');
  }

  it('shows what happened, the newest last, to who may see it', async () => {
    const { code, stdout, stderr } = await culvert(['logs'], monitor);
    expect([code, stderr]).toEqual([0, '']);
    const lines = stdout.trimEnd().split('\n');
    expect(lines[0]).toMatch(/^TIME +OPERATION +DEVICE +RESULT +DETAIL$/);
    expect(lines.slice(1).map((line) => line.split(/ {2,}/)[1])).toEqual([
      ...['deviceConnect', 'invoke', 'streamClose', 'invoke', 'streamClose'],
    ]);
    expect(lines[3]).toMatch(/ press-7 +ended_by_service +echo, 0 B there, 0 B back, \d+ ms$/);
    for (const line of lines) expect(line.length).toBeLessThan(120);
    const not = await culvert(['logs'], { ...monitor, CULVERT_CONNECTION_STRING: await hub.policy('service') });
    expect(not.code).toBe(4);
  });

  it('shows as many as asked for, says when there are more, and one JSON record a line', async () => {
    const some = await culvert(['logs', '--limit', '2', '--output', 'json'], monitor);
    const records = some.stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(records.map(({ operationName }) => operationName)).toEqual(['invoke', 'streamClose']);
    expect(some.stderr).toBe('culvert: these are the newest 2; --limit or --since shows more\n');
    const flags = ['--device', 'press-7', '--category', 'connections', '--result', 'ok', '--output', 'json'];
    const since = await culvert(['logs', '--since', '1h', ...flags], monitor);
    expect(JSON.parse(since.stdout)).toMatchObject({ operationName: 'deviceConnect' });
    const none = await culvert(['logs', '--since', '1h', '--until', '30m'], monitor);
    expect(none).toMatchObject({ code: 0, stdout: expect.stringMatching(/^TIME .*\n$/), stderr: '' });
  });

  it.each([
    [['--since', 'soon'], /--since: 'soon' is neither/],
    [['--category', 'x'], /'x' is none of DeviceStreams, Connections/],
    [['--module', 'm'], /--module needs --device/],
    [['--follow', '--until', '1h'], /exclude each other/],
    [['--limit', '0'], /not a number from 1 to 100000/],
    [['--result', 'bad'], /must be ok, failed/],
  ])('%j is a mistake, told in one line', async (flags, message) => {
    const { code, stdout, stderr } = await culvert(['logs', ...flags], monitor);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toMatch(/^culvert: .*\n$/);
    expect(stderr).toMatch(message);
  });

  it('follows over a restart of the hub, without a gap, and says so', async () => {
    const logs = startCulvert(['logs', '--follow', '--since', '1h', '--output', 'json'], monitor);
    const seen = (operation: string) => logs.line(new RegExp(`"operationName":"${operation}"`));
    await seen('streamClose');
    await hub.stop({ keep: true });
    await logs.line(/^culvert: the hub does not answer any more, trying until it does: /);
    await seen('deviceDisconnect');
    hub = await startHub({ directory: hub.directory, config: { listen: `127.0.0.1:${hub.port}` } });
    await hub.event('device-attached');
    await logs.line(/^culvert: the hub answers again; what it recorded meanwhile follows/);
    await hub.createDevice('other');
    const refused = hub.owner.openStream('other', { name: 'x', connectTimeoutMs: 0 });
    await expect(refused).rejects.toMatchObject({ code: 'device_offline' });
    await logs.line(/404103/);
    logs.child.kill('SIGTERM');
    const { stdout } = await logs.ended;
    const operations = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line).operationName);
    expect(operations).toEqual([
      ...['deviceConnect', 'invoke', 'streamClose', 'invoke', 'streamClose'],
      ...['deviceDisconnect', 'deviceConnect', 'invoke'],
    ]);
  });
});

describe('culvert hub', () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'culvert-cli-'));
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it('writes records to standard output where it is told to, and lives on when nobody reads them any more', async () => {
    const config = join(directory, 'hub.yaml');
    const setting = { name: 'console', to: { stdout: true } };
    const listen = { listen: '127.0.0.1:0', adminListen: '127.0.0.1:0' };
    writeFileSync(config, JSON.stringify({ dataDir: join(directory, 'data'), ...listen, diagnostics: [setting] }));
    const hub = startCulvert(['hub', '--config', config, '--log-format', 'json'], {});
    const started = JSON.parse(await hub.line(/"hub-started"/)) as { address: string };
    const ca = readFileSync(join(directory, 'data', 'ca.pem'));
    const knock = async () => {
      const [response] = (await once(get(`https://${started.address}/logs`, { ca }), 'response')) as [IncomingMessage];
      response.resume();
      return response.statusCode;
    };
    expect(await knock()).toBe(401);
    const record = JSON.parse(await hub.line(/^\{"time":.*connectionRefused/)) as { category: string };
    expect(record.category).toBe('Connections');
    hub.child.stdout.destroy();
    expect(await knock()).toBe(401);
    await hub.line(/"log-failed".*/);
    expect(await knock()).toBe(401);
    hub.child.kill('SIGTERM');
    expect((await hub.ended).code).toBe(0);
  });

  it('says what is wrong with a diagnostic setting in one line', async () => {
    const config = join(directory, 'wrong.yaml');
    const setting = { name: 'far', to: { http: { url: 'ftp://h' } } };
    const listen = { listen: '127.0.0.1:0', adminListen: '127.0.0.1:0' };
    writeFileSync(config, JSON.stringify({ dataDir: join(directory, 'wrong'), ...listen, diagnostics: [setting] }));
    expect(await culvert(['hub', '--config', config, '--log-level', 'error'])).toEqual({
      ...{ code: 78, stdout: '' },
      stderr: "culvert: diagnostics: 'far' cannot be used: its url must begin with https:// or http://.\n",
    });
  });
});
