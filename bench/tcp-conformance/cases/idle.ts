import { setTimeout as delay } from 'node:timers/promises';
import type { ConformanceCase } from './conformance-case.ts';
import { exchangeByte } from './reset.ts';

const idle: ConformanceCase = {
  id: 'idle',
  promise: 'A connection on which nothing is sent stays open.',
  quiet: true,
  extraMs: ({ idleMs }) => 60_000 + idleMs,
  run: async ({ ends, amounts: { idleMs } }) => {
    const pair = await ends.open();
    await exchangeByte(pair);
    await delay(idleMs);
    pair.client.assertOpen();
    pair.server.assertOpen();
    await exchangeByte(pair);
    pair.client.end();
    await pair.server.endsAfter(1);
    pair.server.end();
    await pair.client.endsAfter(1);
    return `${idleMs / 1000} s without a byte, then one each way`;
  },
};

export const IDLE: readonly ConformanceCase[] = [idle];
