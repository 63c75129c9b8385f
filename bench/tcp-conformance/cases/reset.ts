import { setTimeout as delay } from 'node:timers/promises';
import { Deviation, within } from '../deviation.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Pair, Side, TunnelEnds } from '../tunnel-ends.ts';
import type { ConformanceCase, TunnelUnderTest } from './conformance-case.ts';
import { TO_CLIENT, TO_SERVER } from './offsets.ts';

/** Milliseconds without a byte taken after which a sender counts as stalled. */
const STALLED_MS = 300;
/** Milliseconds between a reset and the moment when the other side reads on. */
const LATE_MS = 300;
/** Milliseconds in which the early aborts are spread: as long as tunnels take to reach the target. */
const EARLY_MS = 25;

function idle(actor: Side): ConformanceCase {
  const other = actor === 'client' ? 'server' : 'client';
  return {
    id: `reset-${actor}`,
    promise: `When a ${actor} aborts, the ${other} sees a reset and never a clean end, which would pass for a whole transfer.`,
    run: async ({ ends }) => {
      const pair = await ends.open();
      await exchangeByte(pair);
      pair[actor].reset();
      await pair[other].endsInReset();
      return `ECONNRESET at the ${other}`;
    },
  };
}

function queued(actor: Side): ConformanceCase {
  const other = actor === 'client' ? 'server' : 'client';
  return {
    id: `reset-${actor}-queued`,
    promise: `A ${actor} that aborts while its bytes are still queued leaves the ${other} with right bytes and a reset, never a clean end.`,
    run: async ({ ends, amounts }) => {
      const pair = await ends.open();
      const [sender, receiver] = [pair[actor], pair[other]];
      receiver.expectLater(TO_SERVER);
      // It fails by the reset, which is intended.
      sender.send(TO_SERVER, amounts.queuedBytes, true).catch(() => undefined);
      await stalled(sender, amounts.waitMs);
      sender.reset();
      await delay(LATE_MS);
      await receiver.endsInReset();
      return `ECONNRESET at the ${other}, and the bytes before it were right`;
    },
  };
}

/** One byte each way: the connection is open all the way. */
export async function exchangeByte({ client, server }: Pair): Promise<void> {
  client.expect(TO_CLIENT);
  server.expect(TO_SERVER);
  await Promise.all([server.receive(1), client.send(TO_SERVER, 1)]);
  await Promise.all([client.receive(1), server.send(TO_CLIENT, 1)]);
}

/** Resolves when nothing more is taken from a sender, `mostMs` have passed, or it is `enough`. */
export async function stalled(sender: Endpoint, mostMs: number, enough = (): boolean => false): Promise<void> {
  const until = performance.now() + mostMs;
  for (let before = -1; before !== sender.accepted && performance.now() < until && !enough(); ) {
    before = sender.accepted;
    await delay(STALLED_MS);
  }
}

const refused: ConformanceCase = {
  id: 'refused',
  promise: 'A client learns that the target refuses connections by a refusal or a reset, never by a clean end.',
  run: ({ ends, amounts }) =>
    ends.whileRefusing(() => within(amounts.waitMs, 'the client learns that the target refuses', refusal(ends))),
};

/** Says nothing to the tunnel: an end sent to a program with unread bytes would become a reset by itself. */
function refusal(ends: TunnelEnds): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = ends.connect();
    let connected = false;
    socket.once('connect', () => {
      connected = true;
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      resolve(`${code} ${connected ? 'once connected' : 'when connecting'}`),
    );
    socket.once('end', () => reject(new Deviation('client: a clean end, though the target refused the connection')));
    socket.resume();
  });
}

const burst: ConformanceCase = {
  id: 'reset-burst',
  promise:
    'Connections that their clients abort as soon as they are made do not keep the next client from being served.',
  run: async ({ ends, amounts: { resets } }) => {
    for (let made = 0; made < resets; made++) await abortAfter(ends, 0, made % 2 === 1);
    await exchangeByte(await ends.open());
    return `${resets} aborted at once, the next one served`;
  },
};

const early: ConformanceCase = {
  id: 'reset-early',
  promise: 'A client that aborts in its first moments leaves nothing open at the target.',
  run: async (tunnel) => {
    const { ends, amounts } = tunnel;
    const aborted = Array.from({ length: amounts.resets }, (_, made) => (made * EARLY_MS) / amounts.resets);
    for (const afterMs of aborted) await abortAfter(ends, afterMs, false);
    await exchangeByte(await ends.open());
    await closedAtTarget(tunnel, 1);
    return `${amounts.resets} aborted, none left open`;
  },
};

/** Connects, and aborts some milliseconds later. */
function abortAfter(ends: TunnelEnds, afterMs: number, withByte: boolean): Promise<void> {
  return new Promise((resolve) => {
    const socket = ends.connect();
    socket.once('close', () => resolve());
    socket.once('connect', () => {
      if (withByte) socket.write('x');
      if (afterMs === 0) socket.resetAndDestroy();
      else setTimeout(() => socket.resetAndDestroy(), afterMs);
    });
  });
}

/** Waits until no more than `count` connections are open at the target. @throws Deviation */
async function closedAtTarget({ ends, amounts }: TunnelUnderTest, count: number): Promise<void> {
  for (const until = performance.now() + amounts.waitMs; ends.openAtTarget > count; await delay(20)) {
    if (performance.now() > until) {
      throw new Deviation(
        `${ends.openAtTarget - count} aborted connections are still open at the target after ${amounts.waitMs / 1000} s`,
      );
    }
  }
}

export const RESET: readonly ConformanceCase[] = [
  idle('client'),
  idle('server'),
  queued('client'),
  queued('server'),
  refused,
  burst,
  early,
];
