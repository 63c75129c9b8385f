import { expect, it } from 'vitest';
import type { LiveStream } from '../../observe/stream-record.ts';
import { streamPage, streamQuery } from './stream-filter.ts';

const nothing = { bytes: 0, messages: 0 };
const stream = (count: number): LiveStream => ({
  deviceId: `d${count % 3}`,
  streamId: count.toString(16).padStart(32, '0'),
  streamName: 'x',
  caller: 'policy:service',
  callerAddress: '192.0.2.1',
  traceParent: undefined,
  sessionId: undefined,
  session: undefined,
  gateway: 'hub:443',
  // Seven streams each have the same request time.
  requestedAt: Math.floor(count / 7),
  offeredAt: undefined,
  answeredAt: undefined,
  answeredBy: undefined,
  establishedAt: undefined,
  serviceAddress: undefined,
  deviceAddress: undefined,
  fromService: nothing,
  fromDevice: nothing,
  countedBytes: 0,
});

it('gives every stream once, page by page, also when those already seen end meanwhile', () => {
  let streams = Array.from({ length: 100 }, (_, count) => stream(count));
  const seen: string[] = [];
  let query = streamQuery.parse({ top: '9' });
  for (;;) {
    const { page, continuation } = streamPage(streams, query);
    seen.push(...page.map(({ streamId }) => streamId));
    if (continuation === null) break;
    streams = streams.filter(({ streamId }) => !seen.includes(streamId));
    query = streamQuery.parse({ top: '9', continuation });
  }
  expect(seen).toEqual(Array.from({ length: 100 }, (_, count) => stream(count).streamId));
});

it('counts on its filters, and refuses a continuation that is not its own', () => {
  const streams = Array.from({ length: 9 }, (_, count) => stream(count));
  const page = (query: object) => streamPage(streams, streamQuery.parse(query)).page.length;
  expect([page({ device: 'd1' }), page({ device: 'd1', module: 'm' }), page({ caller: 'nobody' })]).toEqual([3, 0, 0]);
  expect(() => page({ continuation: 'x' })).toThrow(expect.objectContaining({ code: 'argument_invalid' }));
});
