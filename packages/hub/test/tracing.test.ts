import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { DeviceClient } from '@culvert/device';
import type { Clock } from '@culvert/stream';
import { FakeClock, startHub, type TestHub } from '@culvert/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { HubEvent } from '../src/observe/events.ts';
import type { LiveStream } from '../src/observe/stream-record.ts';
import { openTracing } from '../src/observe/tracing/open-tracing.ts';
import type { OtlpSpan } from '../src/observe/tracing/otlp-span.ts';
import { traceContext } from '../src/observe/tracing/trace-context.ts';

/** An OTLP collector that stores the received spans and answers as the test specifies. */
class Collector {
  readonly spans: OtlpSpan[] = [];
  readonly resources: unknown[] = [];
  readonly paths: string[] = [];
  /** The next answers. After them, the collector answers with 200. */
  readonly answers: { status: number; retryAfter?: number }[] = [];
  readonly #server: Server;
  readonly #arrived = new Set<() => void>();

  private constructor(server: Server) {
    this.#server = server;
    server.on('request', (request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      request.on('end', () => {
        const { status, retryAfter } = this.answers.shift() ?? { status: 200 };
        this.paths.push(`${request.method} ${request.url} ${request.headers['content-type']} ${status}`);
        response.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': `${retryAfter}` }).end('{}');
        if (status === 200) this.#take(JSON.parse(body));
        for (const wake of [...this.#arrived]) wake();
      });
    });
  }

  static async start(): Promise<Collector> {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Collector(server);
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  /** Resolves when `count` requests have been received. */
  async requests(count: number): Promise<void> {
    while (this.paths.length < count) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.#arrived.delete(wake);
          resolve();
        };
        this.#arrived.add(wake);
      });
    }
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #take(body: { resourceSpans: { resource: unknown; scopeSpans: { spans: OtlpSpan[] }[] }[] }): void {
    for (const { resource, scopeSpans } of body.resourceSpans) {
      this.resources.push(resource);
      for (const { spans } of scopeSpans) this.spans.push(...spans);
    }
  }
}

let collector: Collector;

beforeEach(async () => {
  collector = await Collector.start();
});

afterEach(() => collector.stop());

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';
const values = ({ attributes }: OtlpSpan) =>
  Object.fromEntries(
    attributes.map(({ key, value }) => [key, 'intValue' in value ? Number(value.intValue) : value.stringValue]),
  );

describe('traces of a hub', () => {
  let test: TestHub;
  afterEach(() => test.stop());

  it('hold one span for each handshake, in the trace of its caller', async () => {
    test = await startHub({ config: { tracing: { endpoint: collector.endpoint } } });
    const device = DeviceClient.fromConnectionString(await test.createDevice('press-7'), {
      outbound: test.outbound,
      onStream: async (offer) => {
        if (offer.name !== 'echo') return offer.reject('not here');
        const stream = await offer.accept();
        stream.pipe(stream);
      },
    });
    await device.open();
    const traceParent = `00-${TRACE}-${PARENT}-01`;
    const stream = await test.owner.openStream('press-7', { name: 'echo', traceParent });
    stream.end('hello').resume();
    await once(stream, 'end');
    await expect(test.owner.openStream('press-7', { name: 'nothing' })).rejects.toThrow();
    const unsampled = `00-${TRACE}-${PARENT}-00`;
    await expect(test.owner.openStream('press-7', { name: 'nothing', traceParent: unsampled })).rejects.toThrow();
    await expect(test.owner.openStream('press-7', { name: 'x', traceParent: 'mine' })).rejects.toMatchObject({
      code: 'argument_invalid',
    });
    await device.close();
    await test.stop();
    expect(collector.paths).toEqual(['POST /v1/traces application/json 200']);
    const [established, rejected, ...others] = collector.spans;
    expect(others).toEqual([]);
    expect(established).toMatchObject({
      traceId: TRACE,
      parentSpanId: PARENT,
      name: 'culvert handshake',
      kind: 2,
      status: {},
    });
    expect(established?.spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(established?.events.map(({ name }) => name)).toEqual(['offered', 'answered', 'established']);
    expect(established?.endTimeUnixNano).toBe(established?.events[2]?.timeUnixNano);
    expect(values(established as OtlpSpan)).toMatchObject({
      'culvert.stream.name': 'echo',
      'culvert.device.id': 'press-7',
      'user.name': 'policy:iothubowner',
      'client.address': '127.0.0.1',
      'server.address': '127.0.0.1',
      'server.port': test.port,
      'network.protocol.name': 'mqtt',
      'culvert.control_channel': 'mqtt-ws',
    });
    expect(rejected).toMatchObject({ status: { code: 2, message: 'not here' } });
    expect(rejected?.traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(rejected).not.toHaveProperty('parentSpanId');
    expect(values(rejected as OtlpSpan)).toMatchObject({ 'error.type': 'rejected', 'culvert.close_cause': 'rejected' });
    expect(collector.resources[0]).toMatchObject({
      attributes: expect.arrayContaining([{ key: 'service.name', value: { stringValue: 'culvert-hub' } }]),
    });
  });
});

describe('the exporter', () => {
  const stream: LiveStream = {
    deviceId: 'd',
    streamId: '1',
    streamName: 'ssh',
    caller: 'policy:service',
    callerAddress: '192.0.2.1',
    traceParent: undefined,
    sessionId: undefined,
    session: undefined,
    gateway: 'hub:443',
    requestedAt: 1,
    offeredAt: 2,
    answeredAt: 3,
    answeredBy: undefined,
    establishedAt: 4,
    serviceAddress: undefined,
    deviceAddress: undefined,
    fromService: { bytes: 0, messages: 0 },
    fromDevice: { bytes: 0, messages: 0 },
    countedBytes: 0,
  };
  const established: HubEvent = { type: 'stream-established', streamId: '1', deviceAddress: '', serviceAddress: '' };
  const open = (clock: Clock) =>
    openTracing(
      { endpoint: collector.endpoint, sampleRatio: 1 },
      { live: { get: () => stream }, version: '1', instance: 'hub', clock },
    );

  it('gathers for five seconds, and tries again when the collector is overloaded, as late as that asks for', async () => {
    const clock = new FakeClock();
    const asked: number[] = [];
    const tracing = open({
      now: () => clock.now(),
      setTimer(ms, callback) {
        asked.push(ms);
        return clock.setTimer(ms, callback);
      },
    });
    collector.answers.push({ status: 503, retryAfter: 20 }, { status: 429 });
    for (let count = 0; count < 3; count++) tracing.observe(established);
    expect(asked).toEqual([5_000]);
    expect(collector.paths).toEqual([]);
    await clock.advance(5_000);
    await until(() => asked.includes(20_000));
    expect(collector.paths).toHaveLength(1);
    await clock.advance(20_000);
    // The second answer has no Retry-After, so the exporter uses its own back-off. It is the second one, twice the first.
    await until(() => asked.includes(2_000));
    await clock.advance(2_000);
    await collector.requests(3);
    expect(collector.spans).toHaveLength(3);
    await tracing.close();
    expect(tracing.dropped()).toBe(0);
    expect(clock.timers).toBe(0);
  });

  it('drops what the collector refuses for good, and what is too much to keep, and counts both', async () => {
    const clock = new FakeClock();
    const tracing = open(clock);
    collector.answers.push({ status: 400 });
    for (let count = 0; count < 2_050; count++) tracing.observe(established);
    expect(tracing.dropped()).toBe(2);
    await clock.advance(5_000);
    await collector.requests(4);
    await tracing.close();
    expect(tracing.dropped()).toBe(2 + 512);
    expect(collector.spans).toHaveLength(2_048 - 512);
  });

  it('does not keep the hub from stopping when nobody is there', async () => {
    const clock = new FakeClock();
    const tracing = open(clock);
    collector.stop();
    tracing.observe(established);
    await tracing.close();
    expect(tracing.dropped()).toBe(1);
    expect(clock.timers).toBe(0);
  });
});

describe('sampling', () => {
  it('samples a part of the handshakes without a trace, and follows the decision of the caller for the others', () => {
    const share = (ratio: number) => {
      const contexts = Array.from({ length: 4_000 }, () => traceContext(undefined, ratio));
      return contexts.filter(({ sampled }) => sampled).length / contexts.length;
    };
    expect(share(0)).toBe(0);
    expect(share(1)).toBe(1);
    expect(Math.abs(share(0.25) - 0.25)).toBeLessThan(0.05);
    expect(traceContext(`00-${TRACE}-${PARENT}-01`, 0)).toEqual({
      traceId: TRACE,
      parentSpanId: PARENT,
      sampled: true,
    });
    expect(traceContext(`00-${TRACE}-${PARENT}-02`, 1)).toMatchObject({ sampled: false });
  });
});

/** Runs the event loop until `reached` returns true. */
async function until(reached: () => boolean): Promise<void> {
  while (!reached()) await new Promise((resolve) => setImmediate(resolve));
}
