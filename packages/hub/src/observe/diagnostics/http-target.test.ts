import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Backoff, systemClock } from '@culvert/stream';
import { FakeClock, testCertificate } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readCaFile, readHeadersFile } from '../endpoint-files.ts';
import type { HubEvent } from '../events.ts';
import { HttpPost } from '../http-post.ts';
import { LogDelivery } from '../resource-log/log-delivery.ts';
import { sampleRecord } from '../resource-log/log-entry.fixture.ts';
import { HttpTarget } from './http-target.ts';
import { OtlpTarget, otlpBody } from './otlp-target.ts';

const RESOURCE = { resourceId: 'hub.example', location: 'Plant 3' };
const never = new AbortController().signal;

interface Received {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

let directory: string;
let received: Received[];
/** Status, headers and body of the next answers. */
let answer: { status: number; headers?: Record<string, string>; body?: string };
const servers: Server[] = [];
const posts: HttpPost[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'culvert-log-'));
  received = [];
  answer = { status: 200 };
});
afterEach(async () => {
  await Promise.all(posts.splice(0).map((post) => post.close()));
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
  rmSync(directory, { recursive: true });
});

async function serve(options: { port?: number; pair?: { cert: string; key: string } } = {}): Promise<number> {
  const listener = async (request: IncomingMessage, response: import('node:http').ServerResponse) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    received.push({ url: request.url, headers: request.headers, body });
    response.writeHead(answer.status, answer.headers).end(answer.body);
  };
  const server = options.pair === undefined ? createServer(listener) : createTlsServer(options.pair, listener);
  servers.push(server);
  server.listen(options.port ?? 0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

function post(url: string, more: { headers?: Record<string, string>; ca?: string } = {}): HttpPost {
  const made = new HttpPost({ url: new URL(url), headers: more.headers ?? {}, ca: more.ca }, systemClock);
  posts.push(made);
  return made;
}

describe('an HTTP endpoint', () => {
  it('gets Azure’s body and its secret headers, over one connection', async () => {
    const port = await serve();
    const headers = { authorization: 'Bearer secret' };
    const target = new HttpTarget(post(`http://127.0.0.1:${port}/logs?x=1`, { headers }));
    const batch = [sampleRecord(1), sampleRecord(2)];
    expect(await target.deliver(batch, never)).toBe(0);
    expect(await target.deliver(batch, never)).toBe(0);
    expect(received[0]).toMatchObject({
      url: '/logs?x=1',
      headers: { ...headers, 'content-type': 'application/json' },
    });
    expect(JSON.parse(received[0]?.body ?? '')).toEqual({ records: batch.map(({ json }) => JSON.parse(json)) });
    expect(received[0]?.headers.connection).toBe('keep-alive');
  });

  it('is trusted by its own authority, and by nothing else', async () => {
    const pair = await testCertificate({ names: ['127.0.0.1'] });
    const port = await serve({ pair });
    const file = join(directory, 'ca.pem');
    writeFileSync(file, pair.ca);
    const trusted = new HttpTarget(post(`https://127.0.0.1:${port}/`, { ca: readCaFile(file) }));
    expect(await trusted.deliver([sampleRecord(1)], never)).toBe(0);
    const untrusting = new HttpTarget(post(`https://127.0.0.1:${port}/`));
    await expect(untrusting.deliver([sampleRecord(1)], never)).rejects.toMatchObject({ code: 'untrusted' });
    expect(received.length).toBe(1);
  });

  it.each([
    [503, {}, /^127\.0\.0\.1:\d+ answered with status 503$/, undefined],
    [401, {}, /answered with status 401$/, undefined],
    [429, { 'retry-after': '7' }, /answered with status 429$/, 7_000],
  ])('that answers %d is asked again later', async (status, headers, message, afterMs) => {
    answer = { status, headers };
    const target = new HttpTarget(post(`http://127.0.0.1:${await serve()}/`));
    const failure: unknown = await target.deliver([sampleRecord(1)], never).catch((error: unknown) => error);
    expect((failure as Error).message).toMatch(message);
    expect((failure as { afterMs?: number }).afterMs).toBe(afterMs);
  });

  it.each([400, 413, 422])('that answers %d refuses the batch for good', async (status) => {
    answer = { status };
    const target = new HttpTarget(post(`http://127.0.0.1:${await serve()}/`));
    expect(await target.deliver([sampleRecord(1), sampleRecord(2)], never)).toBe(2);
  });

  it('that closes kept connections is not away', async () => {
    const port = await serve();
    const target = new HttpTarget(post(`http://127.0.0.1:${port}/`));
    await target.deliver([sampleRecord(1)], never);
    // In the same event-loop iteration in which the next batch is written.
    servers[0]?.closeIdleConnections();
    expect(await target.deliver([sampleRecord(2)], never)).toBe(0);
    expect(received.length).toBe(2);
  });

  it('that hangs is given up after half a minute', async () => {
    const clock = new FakeClock();
    const server = createServer(() => undefined).listen(0, '127.0.0.1');
    servers.push(server);
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const hanging = new HttpPost({ url: new URL(`http://127.0.0.1:${port}/`), headers: {} }, clock);
    posts.push(hanging);
    const asked = expect(hanging.post('{}', never)).rejects.toMatchObject({
      ...{ code: 'unreachable', message: `127.0.0.1:${port} did not answer within 30 seconds.` },
    });
    await once(server, 'request');
    await clock.advance(30_000);
    await asked;
    expect(clock.timers).toBe(0);
  });

  it('that is away for a while gets everything when it is back, each record once and in order', async () => {
    const port = await serve();
    const [away] = servers.splice(0);
    away?.closeAllConnections();
    await new Promise((resolve) => away?.close(resolve));
    const events: HubEvent[] = [];
    const changed = new Set<() => void>();
    const backoff = new Backoff({ minMs: 5, maxMs: 5 });
    const delivery = new LogDelivery({
      ...{ name: 'far', target: new HttpTarget(post(`http://127.0.0.1:${port}/`)), clock: systemClock, backoff },
      maxBatch: 30,
      onEvent: (event) => {
        events.push(event);
        for (const wake of changed) wake();
      },
    });
    const told = (type: HubEvent['type']) =>
      new Promise<void>((resolve) => {
        const look = () => void (events.some((event) => event.type === type) && resolve());
        changed.add(look);
        look();
      });
    for (let n = 1; n <= 100; n++) delivery.push(sampleRecord(n));
    await told('log-failed');
    expect(delivery.queued).toBe(100);
    await serve({ port });
    await told('log-resumed');
    await delivery.settled();
    const names = received.flatMap(({ body }) =>
      (JSON.parse(body) as { records: { properties: string }[] }).records.map(
        ({ properties }) => (JSON.parse(properties) as { requestName: string }).requestName,
      ),
    );
    expect(names).toEqual(Array.from({ length: 100 }, (_, n) => `stream-${n + 1}`));
    expect(events).toEqual([
      { type: 'log-failed', sink: 'far', problem: expect.stringContaining(`127.0.0.1:${port}`) },
      { type: 'log-resumed', sink: 'far', lost: 0 },
    ]);
    await delivery.close(1_000);
  });
});

describe('an OTLP endpoint', () => {
  it('gets log records in the JSON encoding, joined to the caller’s trace', async () => {
    const [traceId, spanId] = ['1'.repeat(32), '2'.repeat(16)];
    const record = sampleRecord(7, {
      ...{ error: 'device_offline', level: 'Error', traceParent: `00-${traceId}-${spanId}-01` },
      properties: { deviceId: 'd', moduleId: null, joinMs: 12, statusCode: '404' },
    });
    expect(otlpBody([record], RESOURCE)).toEqual({
      resourceLogs: [
        {
          resource: {
            attributes: [
              { key: 'service.name', value: { stringValue: 'culvert-hub' } },
              { key: 'service.instance.id', value: { stringValue: 'hub.example' } },
              { key: 'location', value: { stringValue: 'Plant 3' } },
            ],
          },
          scopeLogs: [
            {
              scope: { name: 'culvert.resource-log' },
              logRecords: [
                {
                  timeUnixNano: '1767225600007000000',
                  observedTimeUnixNano: '1767225600007000000',
                  ...{ severityNumber: 17, severityText: 'Error', eventName: 'DeviceStreams.invoke' },
                  body: { stringValue: 'invoke' },
                  attributes: [
                    { key: 'category', value: { stringValue: 'DeviceStreams' } },
                    { key: 'resultType', value: { intValue: '404103' } },
                    { key: 'resultDescription', value: { stringValue: 'DeviceNotOnline' } },
                    { key: 'durationMs', value: { intValue: '5' } },
                    { key: 'deviceId', value: { stringValue: 'd' } },
                    { key: 'joinMs', value: { intValue: '12' } },
                    { key: 'statusCode', value: { stringValue: '404' } },
                  ],
                  ...{ traceId, spanId },
                },
              ],
            },
          ],
        },
      ],
    });
  });

  it('may take a part alone, or say nothing', async () => {
    const target = new OtlpTarget(post(`http://127.0.0.1:${await serve()}/v1/logs`), RESOURCE);
    const batch = [sampleRecord(1), sampleRecord(2)];
    answer = { status: 200, body: '{"partialSuccess":{"rejectedLogRecords":"1","errorMessage":"no"}}' };
    expect(await target.deliver(batch, never)).toBe(1);
    for (const body of ['{}', '', '\u0000']) {
      answer = { status: 200, body };
      expect(await target.deliver(batch, never)).toBe(0);
    }
    answer = { status: 400 };
    expect(await target.deliver(batch, never)).toBe(2);
  });
});

describe('a file of headers', () => {
  const file = () => join(directory, 'headers');

  it('is a name and a value a line', () => {
    writeFileSync(file(), '# for the collector\nAuthorization: Bearer a:b\r\n\nX-Key:secret\n');
    expect(readHeadersFile(file())).toEqual({ Authorization: 'Bearer a:b', 'X-Key': 'secret' });
  });

  it('that is wrong is told by its line alone', () => {
    writeFileSync(file(), 'X-Key: fine\nsecret without a colon\n');
    expect(() => readHeadersFile(file())).toThrow(`Line 2 of ${file()} is not NAME: VALUE.`);
    expect(() => readHeadersFile(join(directory, 'none'))).toThrow('cannot be read: there is no such file.');
    expect(() => readCaFile(file())).toThrow('holds no certificate in PEM form.');
  });
});
