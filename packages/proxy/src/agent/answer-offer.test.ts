import { type Duplex, duplexPair } from 'node:stream';
import type { StreamOffer } from '@culvert/device';
import { CulvertError } from '@culvert/protocol';
import { systemClock } from '@culvert/stream';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Loopback, loopback } from '../loopback.fixture.ts';
import { OpenStreams } from '../open-streams.ts';
import type { AgentEvent } from './agent-events.ts';
import { type AnswerOptions, answerOffer, ECHO_SERVICE } from './answer-offer.ts';
import { SERVICES_SERVICE, tryServices } from './service-report.ts';

let echo: Loopback;
let events: AgentEvent[];
let options: AnswerOptions;

beforeEach(async () => {
  echo = await loopback((socket) => socket.pipe(socket));
  events = [];
  options = {
    services: new Map([
      ['echo', { host: '127.0.0.1', port: echo.port }],
      ['dead', { host: '127.0.0.1', port: 1 }],
    ]),
    defaultService: undefined,
    streams: new OpenStreams(3),
    clock: systemClock,
    onEvent: (event) => events.push(event),
  };
});

afterEach(() => echo.stop());

interface FakeOffer extends StreamOffer {
  readonly far: Duplex;
  readonly reasons: (string | undefined)[];
}

function offer(name: string, accept?: () => Promise<Duplex>): FakeOffer {
  const [near, far] = duplexPair();
  const reasons: (string | undefined)[] = [];
  return {
    name,
    streamId: 'aa',
    caller: 'service',
    far,
    reasons,
    accept: accept ?? (() => Promise.resolve(near)),
    acceptWebSocket: () => Promise.reject(new Error('not used')),
    reject: (reason) => {
      reasons.push(reason);
      return Promise.resolve();
    },
  };
}

async function received(stream: Duplex, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stream.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size >= bytes) break;
  }
  return Buffer.concat(chunks);
}

describe('answerOffer', () => {
  it('connects the target, accepts and relays', async () => {
    const made = offer('echo');
    const done = answerOffer(made, options);
    const sent = Buffer.alloc(1_500_000, 7);
    made.far.write(sent);
    expect((await received(made.far, sent.length)).equals(sent)).toBe(true);
    made.far.resume().end();
    await done;
    expect(events).toMatchObject([
      { type: 'stream-opened', id: 1, service: 'echo', streamId: 'aa', caller: 'service' },
      { type: 'stream-ended', id: 1, bytesSent: 1_500_000, bytesReceived: 1_500_000, endedBy: 'remote' },
    ]);
    expect(options.streams.size).toBe(0);
  });

  it('relays many streams side by side', async () => {
    const made = [offer('echo'), offer('echo'), offer('echo')];
    const done = made.map((one) => answerOffer(one, options));
    await Promise.all(
      made.map(async ({ far }, index) => {
        far.write(`hello ${index}`);
        const [chunk] = await new Promise<[Buffer]>((resolve) => far.once('data', (data: Buffer) => resolve([data])));
        expect(chunk.toString()).toBe(`hello ${index}`);
      }),
    );
    expect(options.streams.size).toBe(3);
    const late = offer('echo');
    await answerOffer(late, options);
    expect(late.reasons).toEqual(['this agent has reached its limit of open streams; try again later']);
    for (const { far } of made) far.end();
    await Promise.all(done);
  });

  it('echoes by itself what is sent to its own echo, whatever else takes unknown names', async () => {
    const made = offer(ECHO_SERVICE);
    const done = answerOffer(made, {
      ...options,
      services: new Map([['dead', { host: '127.0.0.1', port: 1 }]]),
      defaultService: 'dead',
    });
    const sent = Buffer.alloc(1_500_000, 7);
    made.far.end(sent);
    expect((await received(made.far, sent.length + 1)).equals(sent)).toBe(true);
    await done;
    expect(events).toMatchObject([
      { type: 'stream-opened', service: ECHO_SERVICE, target: undefined },
      { type: 'stream-ended', bytesSent: 1_500_000, bytesReceived: 1_500_000, endedBy: 'remote' },
    ]);
  });

  it('rejects what it does not offer, and names what it does', async () => {
    const made = offer('x');
    await answerOffer(made, options);
    expect(made.reasons).toEqual(["this agent has no service 'x' (it offers: echo, dead)"]);
    expect(events).toMatchObject([{ type: 'stream-rejected', service: 'x' }]);
  });

  it('gives unknown names to the default service', async () => {
    const made = offer('TestStream');
    const done = answerOffer(made, { ...options, defaultService: 'echo' });
    made.far.write('hi');
    expect((await received(made.far, 2)).toString()).toBe('hi');
    made.far.resume().end();
    await done;
  });

  it('rejects when nothing answers at the target', async () => {
    const made = offer('dead');
    await answerOffer(made, options);
    expect(made.reasons).toEqual([
      '127.0.0.1:1 could not be reached on the device: nothing listens there (ECONNREFUSED)',
    ]);
  });

  it('lets the target go when the stream cannot be had', async () => {
    const made = offer('echo', () => Promise.reject(new CulvertError('unreachable', 'no gateway')));
    await answerOffer(made, options);
    expect(events).toMatchObject([{ type: 'stream-failed', error: { code: 'unreachable' } }]);
    expect(options.streams.size).toBe(0);
  });

  it('ends a running stream with the reason when told to', async () => {
    const made = offer('echo');
    made.far.on('error', () => undefined);
    const done = answerOffer(made, options);
    made.far.write('x');
    await new Promise((resolve) => made.far.once('data', resolve));
    options.streams.destroy(new CulvertError('draining', 'stopping'));
    await done;
    expect(events.at(-1)).toMatchObject({ type: 'stream-failed', error: { code: 'draining' } });
  });

  it('tells which services it offers, and which of them take connections, by connecting only', async () => {
    const made = offer(SERVICES_SERVICE);
    const done = answerOffer(made, { ...options, defaultService: 'echo' });
    let text = '';
    for await (const chunk of made.far as AsyncIterable<Buffer>) text += chunk.toString();
    made.far.end();
    await done;
    expect(JSON.parse(text)).toEqual({
      services: [
        { name: 'echo', ok: true, ms: expect.any(Number) },
        { name: 'dead', ok: false, problem: expect.stringContaining('ECONNREFUSED') },
      ],
      untried: 0,
    });
    expect(events.map(({ type }) => type)).toEqual(['stream-opened', 'stream-ended']);
    expect(events[0]).toMatchObject({ target: undefined });
  });

  it('tries no more than 64 services for one stream', async () => {
    const { services } = options;
    const echoTarget = services.get('echo') ?? { host: '', port: 0 };
    const many = new Map(Array.from({ length: 70 }, (_, n) => [`s${n}`, echoTarget]));
    const report = await tryServices(many, systemClock, new AbortController().signal);
    expect(report.services.filter(({ ok }) => ok)).toHaveLength(64);
    expect(report.untried).toBe(6);
  });
});
