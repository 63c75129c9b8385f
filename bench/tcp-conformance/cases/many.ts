import { Deviation } from '../deviation.ts';
import type { TunnelEnds } from '../tunnel-ends.ts';
import type { ConformanceCase } from './conformance-case.ts';
import { bytes } from './sizes.ts';

const SHORT_BYTES = 100;
const AT_ONCE_BYTES = 65_536;

/** Sends a piece of the pattern of its own, gets it back, and ends only then: half-closing has cases of its own. */
async function echoed(ends: TunnelEnds, number: number, length: number): Promise<void> {
  const { client, server } = await ends.open(`connection ${number + 1}, `);
  const from = number * length;
  server.echo();
  client.expect(from);
  await Promise.all([client.receive(length), client.send(from, length)]);
  client.end();
  await client.endsAfter(length);
}

const short: ConformanceCase = {
  id: 'short-connections',
  promise: 'Connections can follow one another without pause, each with its own bytes.',
  extraMs: ({ shortConnections }) => 60_000 + 100 * shortConnections,
  run: async ({ ends, amounts: { shortConnections } }) => {
    for (let number = 0; number < shortConnections; number++) await echoed(ends, number, SHORT_BYTES);
    return `${shortConnections} connections one after the other, each got its ${bytes(SHORT_BYTES)} back`;
  },
};

const atOnce: ConformanceCase = {
  id: 'many-at-once',
  promise: 'Connections opened at the same moment are all served, each with its own bytes.',
  run: async ({ ends, amounts: { connectionsAtOnce } }) => {
    const all = Array.from({ length: connectionsAtOnce }, (_, number) => echoed(ends, number, AT_ONCE_BYTES));
    const failed = (await Promise.allSettled(all)).filter((one) => one.status === 'rejected');
    for (const { reason } of failed) {
      if (!(reason instanceof Deviation)) throw reason;
      throw new Deviation(`${failed.length} of ${connectionsAtOnce} failed; ${reason.message}`);
    }
    return `${connectionsAtOnce} connections, each got its ${bytes(AT_ONCE_BYTES)} back`;
  },
};

export const MANY: readonly ConformanceCase[] = [short, atOnce];
