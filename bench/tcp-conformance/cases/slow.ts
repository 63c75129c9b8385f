import { setTimeout as delay } from 'node:timers/promises';
import type { Amounts } from '../amounts.ts';
import { Deviation } from '../deviation.ts';
import type { Endpoint } from '../endpoint.ts';
import type { Pair, Side, TunnelEnds } from '../tunnel-ends.ts';
import type { ConformanceCase, TunnelUnderTest } from './conformance-case.ts';
import { TO_CLIENT, TO_SERVER } from './offsets.ts';
import { stalled } from './reset.ts';
import { bytes } from './sizes.ts';

/** Pieces that the slow writer sends, the largest of them, and the milliseconds between two. */
const PIECES = 40;
const LARGEST_PIECE = 1_000;
const REST_MS = 20;
/** Bytes echoed on the connection beside a stalled one, and single bytes sent there and back on it. */
const BESIDE_BYTES = 2 ** 20;
const ROUND_TRIPS = 20;

function reader(receiving: Side): ConformanceCase {
  const sending = receiving === 'client' ? 'server' : 'client';
  return {
    id: `slow-reader-${receiving}`,
    promise: `A ${receiving} that reads slowly slows the ${sending} down, costs the tunnel no memory, and gets every byte in the end.`,
    extraMs: ({ stallMs }) => 240_000 + 2 * stallMs,
    run: (tunnel) => readSlowly(tunnel, sending, receiving),
  };
}

async function readSlowly({ ends, amounts, memory }: TunnelUnderTest, sending: Side, receiving: Side): Promise<string> {
  const { offeredBytes, takenBytes, residentBytes, stallMs } = amounts;
  const pair = await ends.open();
  const [sender, receiver] = [pair[sending], pair[receiving]];
  const grown = memory?.watch();
  receiver.expectLater(TO_SERVER);
  const sent = sender.send(TO_SERVER, offeredBytes, true).then(() => sender.end());
  // Awaited below; it may fail before.
  sent.catch(() => undefined);
  await delay(stallMs);
  const taken = await unread(sender, receiver, amounts);
  if (taken <= takenBytes) await receiver.readSlowly(stallMs);
  const takenLater = await unread(sender, receiver, amounts);
  const growth = grown?.();
  if (Math.max(taken, takenLater) > takenBytes) {
    const most = bytes(Math.max(taken, takenLater));
    throw new Deviation(`${sending}: ${most} were taken from it that the ${receiving} has not read`);
  }
  if (growth !== undefined && growth > residentBytes) {
    throw new Deviation(`the tunnel's processes grew by ${bytes(growth)} while the ${receiving} read slowly`);
  }
  await Promise.all([receiver.endsAfter(offeredBytes), sent]);
  const memoryWords = growth === undefined ? 'its memory not watched' : `its memory grew by ${bytes(growth)}`;
  return `${bytes(offeredBytes)} offered: the tunnel took ${bytes(taken)} unread, ${memoryWords}, all bytes came`;
}

/** Bytes that were taken from a sender and not read, once no more are taken or they are too many. */
async function unread(sender: Endpoint, receiver: Endpoint, { takenBytes, waitMs }: Amounts): Promise<number> {
  const taken = (): number => sender.accepted - receiver.received;
  await stalled(sender, waitMs, () => taken() > takenBytes);
  return taken();
}

const writer: ConformanceCase = {
  id: 'slow-writer',
  promise: 'Few bytes arrive without waiting for more to follow.',
  run: async ({ ends }) => {
    const { client, server } = await ends.open();
    server.echo();
    client.expect(TO_SERVER);
    let sent = 0;
    for (let piece = 0; piece < PIECES; piece++) {
      const size = 1 + ((piece * 373) % LARGEST_PIECE);
      await Promise.all([client.receive(sent + size), client.send(TO_SERVER + sent, size)]);
      sent += size;
      await delay(REST_MS);
    }
    client.end();
    await client.endsAfter(sent);
    return `${PIECES} pieces of up to ${LARGEST_PIECE} bytes, each back before the next was sent`;
  },
};

function beside(sending: Side): ConformanceCase {
  const receiving = sending === 'client' ? 'server' : 'client';
  return {
    id: `stalled-${receiving}`,
    promise: `A ${receiving} that does not read its connection stops that connection and no other.`,
    run: async ({ ends, amounts: { queuedBytes, waitMs } }) => {
      const pair = await ends.open('stalled connection, ');
      pair[receiving].expectLater(TO_SERVER);
      const sent = pair[sending].send(TO_SERVER, queuedBytes, true).then(() => pair[sending].end());
      sent.catch(() => undefined);
      await stalled(pair[sending], waitMs);
      const taken = pair[sending].accepted;
      await besideIt(ends);
      await Promise.all([pair[receiving].endsAfter(queuedBytes), sent]);
      return `stalled at ${bytes(taken)}; the other moved ${bytes(BESIDE_BYTES)} each way, then the first went on`;
    },
  };
}

async function besideIt(ends: TunnelEnds): Promise<void> {
  const pair: Pair = await ends.open('connection beside it, ');
  await ping(pair);
  const { client, server } = pair;
  client.expect(TO_CLIENT);
  server.expect(TO_SERVER);
  await Promise.all([server.receive(BESIDE_BYTES), client.send(TO_SERVER, BESIDE_BYTES)]);
  await Promise.all([client.receive(BESIDE_BYTES), server.send(TO_CLIENT, BESIDE_BYTES)]);
  client.end();
  await server.endsAfter(BESIDE_BYTES);
  server.end();
  await client.endsAfter(BESIDE_BYTES);
}

async function ping({ client, server }: Pair): Promise<void> {
  const once = async (from: Endpoint, to: Endpoint): Promise<void> => {
    to.expect(TO_SERVER);
    await Promise.all([to.receive(1), from.send(TO_SERVER, 1)]);
  };
  for (let round = 0; round < ROUND_TRIPS; round++) {
    await once(client, server);
    await once(server, client);
  }
}

export const SLOW: readonly ConformanceCase[] = [
  reader('server'),
  reader('client'),
  writer,
  beside('client'),
  beside('server'),
];
