import { setTimeout as delay } from 'node:timers/promises';
import type { Side, TunnelEnds } from '../tunnel-ends.ts';
import type { ConformanceCase } from './conformance-case.ts';
import { TO_SERVER } from './offsets.ts';
import { bytes } from './sizes.ts';

/** Milliseconds that the receiver waits before it reads: until then the bytes lie in the tunnel, and the close behind them. */
const LATE_MS = 100;
/** Bytes sent before the close, beside those of a request. */
const SIZES = [1, 1_000, 65_537];
/** Connections of each size: what is lost is lost now and then. */
const TIMES = 5;

function closedBy(sender: Side): ConformanceCase {
  const receiver = sender === 'client' ? 'server' : 'client';
  return {
    id: `last-bytes-${sender}`,
    promise: `Everything that a ${sender} sends right before it closes reaches the ${receiver}, and then a clean end.`,
    run: async ({ ends, amounts: { requestBytes } }) => {
      const sizes = [...SIZES, requestBytes];
      for (const size of sizes) {
        await Promise.all(Array.from({ length: TIMES }, () => closeAfter(ends, sender, receiver, size)));
      }
      return `${sizes.length * TIMES} connections, 1 byte to ${bytes(requestBytes)}: all bytes and a clean end`;
    },
  };
}

async function closeAfter(ends: TunnelEnds, sender: Side, receiver: Side, size: number): Promise<void> {
  const pair = await ends.open(`${bytes(size)}, `);
  pair[receiver].expectLater(TO_SERVER);
  const sent = pair[sender].send(TO_SERVER, size).then(() => pair[sender].close());
  // It fails with the connection, which the receiver tells of.
  sent.catch(() => undefined);
  await delay(LATE_MS);
  await Promise.all([pair[receiver].endsAfter(size), sent]);
  pair[receiver].close();
}

export const LAST_BYTES: readonly ConformanceCase[] = [closedBy('client'), closedBy('server')];
