import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DeviceClient } from '@culvert/device';
import { type HubConfigInput, parseHubConfig } from '@culvert/hub';
import type { ResourceLogRecord } from '@culvert/protocol';
import { echoOffer, FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { EventBus } from '../src/observe/event-bus.ts';
import { LiveStreams } from '../src/observe/live-streams.ts';
import { openResourceLog } from '../src/observe/resource-log/open-resource-log.ts';

let directory: string;
const cleanups: (() => unknown)[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-log-'));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true });
});

type Settings = NonNullable<HubConfigInput['diagnostics']>;

/** Starts an HTTP endpoint that accepts every request and stores the bodies. */
async function endpoint(port = 0): Promise<{ url: string; port: number; bodies: string[]; server: Server }> {
  const bodies: string[] = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    bodies.push(`${request.url} ${request.headers['x-key'] ?? ''} ${body}`);
    response.end('{}');
  }).listen(port, '127.0.0.1');
  await once(server, 'listening');
  const bound = (server.address() as AddressInfo).port;
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${bound}`, port: bound, bodies, server };
}

/** Attaches a device, and opens and ends one stream. */
async function live(test: TestHub): Promise<void> {
  const text = await test.createDevice('d');
  const device = DeviceClient.fromConnectionString(text, { onStream: echoOffer, outbound: test.outbound });
  cleanups.push(() => device.close());
  await device.open();
  const stream = await test.owner.openStream('d', { name: 'echo' });
  await test.event('stream-established');
  stream.end();
  await once(stream.resume(), 'close');
  await test.event('stream-ended');
}

const operations = (records: readonly ResourceLogRecord[]) => records.map(({ operationName }) => operationName);
const ALL = ['deviceConnect', 'invoke', 'streamClose', 'deviceDisconnect'];
const STREAMS = ['invoke', 'streamClose'];

describe('diagnostic settings', () => {
  it('send the records of their categories to every target, the last ones when the hub stops', async () => {
    const [http, otlp] = [await endpoint(), await endpoint()];
    const headersFile = join(directory, 'headers');
    writeFileSync(headersFile, 'X-Key: secret', { mode: 0o600 });
    const path = join(directory, 'records.jsonl');
    const test = await startHub({
      config: {
        diagnostics: [
          { name: 'file', to: { file: { path } } },
          { name: 'http', categories: ['DeviceStreams'], to: { http: { url: `${http.url}/in`, headersFile } } },
          { name: 'otlp', to: { otlp: { url: otlp.url } } },
        ],
      },
    });
    await live(test);
    await test.stop();
    const inFile = readFileSync(path, 'utf8').trimEnd().split('\n');
    expect(operations(inFile.map((line) => JSON.parse(line)))).toEqual(ALL);
    const posted = http.bodies.flatMap((body) => {
      expect(body).toMatch(/^\/in secret \{"records":\[/);
      return (JSON.parse(body.slice(body.indexOf('{'))) as { records: ResourceLogRecord[] }).records;
    });
    expect(operations(posted)).toEqual(STREAMS);
    // The file contains the same records as the HTTP requests, character by character.
    expect(posted.map((record) => JSON.stringify(record))).toEqual(inFile.slice(1, 3));
    const exported = otlp.bodies.flatMap((body) => {
      expect(body).toMatch(/^\/v1\/logs {2}\{"resourceLogs":\[/);
      return [...body.matchAll(/"eventName":"[A-Za-z]+\.([A-Za-z]+)"/g)].map((match) => match[1]);
    });
    expect(exported).toEqual(ALL);
    expect(test.events.filter(({ type }) => type === 'log-failed')).toEqual([]);
  });

  it('lose nothing when an endpoint is away, and streams do not notice', async () => {
    const away = await endpoint();
    await new Promise((resolve) => away.server.close(resolve));
    const test = await startHub({ config: { diagnostics: [{ name: 'far', to: { http: { url: away.url } } }] } });
    cleanups.push(() => test.stop());
    await live(test);
    const failed = await test.event('log-failed');
    expect(failed).toMatchObject({ sink: 'far', problem: expect.stringContaining(`127.0.0.1:${away.port}`) });
    const back = await endpoint(away.port);
    expect(await test.event('log-resumed')).toMatchObject({ sink: 'far', lost: 0 });
    expect(back.bodies.join('').match(/operationName":"(\w+)/g)).toHaveLength(3);
  });

  it('count what an endpoint that never answers could not take, and do not keep the hub from stopping', async () => {
    const stuck = createServer(() => undefined).listen(0, '127.0.0.1');
    await once(stuck, 'listening');
    cleanups.push(() => {
      stuck.closeAllConnections();
      stuck.close();
    });
    const url = `http://127.0.0.1:${(stuck.address() as AddressInfo).port}/`;
    const test = await startHub({ config: { diagnostics: [{ name: 'stuck', to: { http: { url } } }] } });
    await live(test);
    await test.stop();
    expect(test.events.findLast(({ type }) => type === 'log-failed')).toMatchObject({
      ...{ sink: 'stuck', problem: 'The hub stopped before it took 4 records.' },
    });
  });
});

it('what no queue had room for is counted for each sink', async () => {
  const events = new EventBus();
  const clock = new FakeClock();
  const streams = new LiveStreams({ clock, onEvent: events.emit, gateway: () => '' });
  const { logs, diagnostics } = parseHubConfig({
    dataDir: directory,
    diagnostics: [
      { name: 'streams', categories: ['DeviceStreams'], to: { http: { url: 'http://127.0.0.1:9' } } },
      { name: 'all', to: { http: { url: 'http://127.0.0.1:9' } } },
    ],
  });
  const logging = await openResourceLog({
    isRegistered: () => false,
    ...{ dataDir: directory, logs, diagnostics, hostName: 'h', clock, events, streams },
  });
  for (let n = 0; n < 10_050; n++) {
    events.emit({
      ...{ type: 'device-attached', deviceId: `d${n}`, principal: `device:d${n}`, protocol: 'amqp', remoteAddress: '' },
    });
  }
  expect(Object.fromEntries(logging.lost())).toEqual({ store: 50, streams: 0, all: 50 });
  const closed = logging.close();
  await clock.advance(5_000);
  await closed;
  expect(Object.fromEntries(logging.lost())).toMatchObject({ streams: 0, all: 10_050 });
  expect(clock.timers).toBe(0);
});

describe('a wrong diagnostic setting', () => {
  const config = (diagnostics: unknown) => parseHubConfig({ dataDir: directory, diagnostics });
  const file = { file: { path: '/tmp/x' } };

  it.each<[string, unknown, RegExp]>([
    [
      'no target',
      [{ name: 'a', to: {} }],
      /diagnostics\.0\.to: must name exactly one of file, stdout, http and otlp\.$/,
    ],
    ['two targets', [{ name: 'a', to: { ...file, stdout: true } }], /must name exactly one/],
    ['an unknown key', [{ name: 'a', to: { kafka: {} } }], /kafka/],
    ['no category', [{ name: 'a', categories: [], to: file }], /diagnostics\.0\.categories/],
    ['an unknown category', [{ name: 'a', categories: ['Twins'], to: file }], /diagnostics\.0\.categories\.0/],
    [
      'a name twice',
      [
        { name: 'a', to: file },
        { name: 'a', to: { stdout: true } },
      ],
      /the name 'a' is there twice/,
    ],
    [
      'a file twice',
      [
        { name: 'a', to: file },
        { name: 'b', to: file },
      ],
      /the file '\/tmp\/x' is there twice/,
    ],
    ['too small files', [{ name: 'a', to: { file: { path: 'x', maxBytes: 1 } } }], /to\.file\.maxBytes/],
  ])('with %s is refused before anything starts', (_what, diagnostics, message) => {
    expect(() => config(diagnostics)).toThrow(message);
  });

  it.each<[string, Settings[number]['to'], string]>([
    ['no URL', { http: { url: 'collector' } }, 'its url must begin with https:// or http://.'],
    ['a password', { http: { url: 'https://u:secret@h/' } }, 'its url must hold no password'],
    [
      'a secret in the clear',
      { otlp: { url: 'http://h:1', headersFile: 'x' } },
      'secret headers go over https:// only',
    ],
    [
      'no headers file',
      { http: { url: 'https://h', headersFile: '/none/x' } },
      '/none/x cannot be read: there is no such file.',
    ],
    [
      'no authority',
      { http: { url: 'https://h', caFile: '/dev/null' } },
      '/dev/null holds no certificate in PEM form.',
    ],
    ['no directory', { file: { path: '/none/x' } }, 'ENOENT'],
    ['a directory for a file', { file: { path: '/tmp' } }, '/tmp is not a file.'],
  ])('with %s keeps the hub from starting, with one line that names it', async (_what, to, message) => {
    const started = startHub({ directory, config: { diagnostics: [{ name: 'mine', to }] } });
    const error = await started.catch((reason: unknown) => reason as Error & { code: string });
    expect(error).toMatchObject({ code: 'config_invalid', message: expect.stringContaining(message) });
    const text = (error as Error).message;
    expect(text).toMatch(/^diagnostics: 'mine' cannot be used: [^\n]*$/);
    expect(text).not.toContain('secret@');
  });
});
