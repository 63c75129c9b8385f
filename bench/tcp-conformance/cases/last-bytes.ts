import { setTimeout as delay } from 'node:timers/promises';
import type { Side } from '../tunnel-ends.ts';
import type { ConformanceCase } from './conformance-case.ts';
import { TO_SERVER } from './offsets.ts';
import { bytes } from './sizes.ts';

/** Milliseconds that the receiver waits before it reads: until then the bytes lie in the tunnel, and the close behind them. */
const LATE_MS = 100;
/** How often small sizes are tried: what is lost is lost now and then. */
const TIMES = 5;

function closedBy(sender: Side): ConformanceCase {
  const receiver = sender === 'client' ? 'server' : 'client';
  return {
    id: `last-bytes-${sender}`,
    promise: `Everything that a ${sender} sends right before it closes reaches the ${receiver}, and then a clean end.`,
    run: async ({ ends, amounts: { requestBytes } }) => {
      const sizes = [1, 1_000, 65_537].flatMap((size) => Array<number>(TIMES).fill(size));
      for (const size of [...sizes, requestBytes]) {
        const pair = await ends.open();
        pair[receiver].expectLater(TO_SERVER);
        const sent = pair[sender].send(TO_SERVER, size).then(() => pair[sender].close());
        await delay(LATE_MS);
        await Promise.all([pair[receiver].endsAfter(size), sent]);
        pair[receiver].close();
      }
      return `${sizes.length + 1} connections, 1 byte to ${bytes(requestBytes)}: all bytes and a clean end`;
    },
  };
}

export const LAST_BYTES: readonly ConformanceCase[] = [closedBy('client'), closedBy('server')];
