import { setTimeout as delay } from 'node:timers/promises';
import type { Side } from '../tunnel-ends.ts';
import type { ConformanceCase, TunnelUnderTest } from './conformance-case.ts';
import { TO_CLIENT, TO_SERVER } from './offsets.ts';
import { bytes } from './sizes.ts';

const WHEN = {
  now: 'at once',
  late: 'after a pause',
  paced: 'little by little',
} as const;

type When = keyof typeof WHEN;

/** One side sends and ends; the other side sees the end, and only then answers. */
function answered(first: Side, when: When): ConformanceCase {
  const other = first === 'client' ? 'server' : 'client';
  return {
    id: `half-close-${first}-${when}`,
    promise: `A ${first} that has ended its direction still gets the ${other}'s whole answer, sent ${WHEN[when]}.`,
    extraMs: ({ delayMs }) => 60_000 + 2 * delayMs,
    run: (tunnel) => answer(tunnel, first, other, when),
  };
}

async function answer({ ends, amounts }: TunnelUnderTest, first: Side, other: Side, when: When): Promise<string> {
  const { requestBytes, answerBytes, delayMs } = amounts;
  const pair = await ends.open();
  const [asking, answering] = [pair[first], pair[other]];
  answering.expect(TO_SERVER);
  await Promise.all([answering.endsAfter(requestBytes), asking.send(TO_SERVER, requestBytes).then(() => asking.end())]);
  asking.expect(TO_CLIENT);
  if (when === 'late') {
    await delay(delayMs);
    asking.assertOpen();
  }
  await Promise.all([
    asking.endsAfter(answerBytes),
    (when === 'paced'
      ? answering.sendPaced(TO_CLIENT, answerBytes, delayMs)
      : answering.send(TO_CLIENT, answerBytes)
    ).then(() => answering.end()),
  ]);
  return `${bytes(requestBytes)}, the end, ${bytes(answerBytes)}, the end`;
}

const both: ConformanceCase = {
  id: 'half-close-both',
  promise: 'When both sides end their directions at the same time, each still gets everything that the other sent.',
  run: async ({ ends, amounts: { answerBytes } }) => {
    const { client, server } = await ends.open();
    client.expect(TO_CLIENT);
    server.expect(TO_SERVER);
    await Promise.all([
      client.endsAfter(answerBytes),
      server.endsAfter(answerBytes),
      client.send(TO_SERVER, answerBytes).then(() => client.end()),
      server.send(TO_CLIENT, answerBytes).then(() => server.end()),
    ]);
    return `${bytes(answerBytes)} and a clean end on both sides`;
  },
};

export const HALF_CLOSE: readonly ConformanceCase[] = [
  answered('client', 'now'),
  answered('client', 'late'),
  answered('client', 'paced'),
  answered('server', 'now'),
  answered('server', 'late'),
  answered('server', 'paced'),
  both,
];
