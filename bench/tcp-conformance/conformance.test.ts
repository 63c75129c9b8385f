import { join } from 'node:path';
import { describe, it } from 'vitest';
import { Child } from '../processes/child.ts';
import { AMOUNTS, type Amounts } from './amounts.ts';
import { CASES } from './cases/index.ts';
import { judge } from './judge.ts';
import type { RelayKind } from './relays/relays.ts';
import { ResidentMemory } from './resident-memory.ts';
import { TunnelEnds } from './tunnel-ends.ts';

const MIB = 2 ** 20;

/** Long enough to go wrong, and no longer. Only what hangs waits for `waitMs`. */
const SMALL: Amounts = {
  ...AMOUNTS,
  openMs: 60_000,
  waitMs: 60_000,
  delayMs: 300,
  idleMs: 300,
  stallMs: 300,
  queuedBytes: 24 * MIB,
  offeredBytes: 96 * MIB,
  takenBytes: 64 * MIB,
  shortConnections: 30,
  connectionsAtOnce: 50,
  resets: 30,
};
/** For relays that never do what is waited for. */
const HANGS: Amounts = { ...SMALL, waitMs: 1_000 };

/** What the kit says of a relay that runs in a process of its own: the failures by case, with what was seen. */
async function failures(kind: RelayKind, ids: readonly string[], amounts = SMALL): Promise<Record<string, string>> {
  const ends = await TunnelEnds.listen(0, amounts);
  const path = join(import.meta.dirname, 'relays/relay-main.ts');
  const args = ['--conditions=development', path, kind, String(ends.target.port)];
  const relay = new Child({ command: process.execPath, args }).readOutput();
  try {
    ends.entry = { host: '127.0.0.1', port: Number((await relay.ready(/listening (\d+)/, 120_000))[1]) };
    const failed: Record<string, string> = {};
    for (const one of CASES.filter(({ id }) => ids.includes(id))) {
      const { verdict, seen } = await judge(one, { ends, amounts, memory: new ResidentMemory([relay.pid]) });
      if (verdict === 'fail') failed[one.id] = seen;
    }
    return failed;
  } finally {
    ends.close();
    await relay.stop();
  }
}

const ALL = CASES.map(({ id }) => id);
const starting = (...prefixes: string[]): string[] =>
  ALL.filter((id) => prefixes.some((prefix) => id.startsWith(prefix)));

const EARLY_END = /a clean end (after \d+ of 1048576|while nothing was sent)|\w+ when \d+ of \d+ bytes were sent/;
const GROWN = /the tunnel's processes grew by \d+\.?\d* MiB/;

/** Each wrong relay, the cases that must fail, and what of it must be seen. */
const WRONG: readonly [RelayKind, readonly string[], RegExp, Amounts?][] = [
  ['closes-at-half-close', starting('half-close-client', 'half-close-server'), EARLY_END],
  [
    'half-open-timeout',
    starting('half-close-client-late', 'half-close-server-late', 'half-close-client-paced', 'half-close-server-paced'),
    EARLY_END,
    { ...SMALL, delayMs: 1_000 },
  ],
  ['loses-last-bytes', [...starting('last-bytes'), 'half-close-both'], /after \d+ of \d+ bytes|nothing for/, HANGS],
  [
    'reset-becomes-end',
    starting('reset-client', 'reset-server', 'refused'),
    /a clean end in place of a reset|a clean end, though the target refused/,
  ],
  ['ignores-resets', ['reset-client', 'reset-server', 'reset-early'], /still open/, HANGS],
  ['buffers-without-bound', starting('slow-reader'), /MiB were taken from it that the (client|server) has not read/],
  // Memory that a process has once had it may have again: a process for each case.
  ['buffers-without-bound', ['slow-reader-server'], GROWN, { ...SMALL, takenBytes: Number.POSITIVE_INFINITY }],
  ['buffers-without-bound', ['slow-reader-client'], GROWN, { ...SMALL, takenBytes: Number.POSITIVE_INFINITY }],
  ['waits-for-more', ['slow-writer'], /waits for 1 bytes, of which 0 came: nothing for 1 s/, HANGS],
  ['stalls-together', starting('stalled'), /connection beside it, .* not in 1 s/, { ...HANGS, openMs: 1_000 }],
  ['serves-thirty', ['reset-burst'], /closed before it reached the target|ECONNRE/],
  ['wrong-bytes', ['short-connections', 'many-at-once'], /wrong bytes after 0 right ones/],
  ['ten-at-once', ['many-at-once'], /of 50 failed/],
  ['idle-timeout', ['idle'], /a clean end while nothing was sent/, { ...SMALL, idleMs: 1_000 }],
];

describe.concurrent('the conformance kit', () => {
  it('finds nothing wrong with a relay that is right', async ({ expect }) => {
    expect(await failures('right', ALL)).toEqual({});
  });

  it.for(WRONG)('sees what is wrong with a relay: %s', async ([kind, ids, seen, amounts], { expect }) => {
    const failed = await failures(kind, ids, amounts);
    expect(new Set(Object.keys(failed))).toEqual(new Set(ids));
    for (const what of Object.values(failed)) expect(what).toMatch(seen);
  });

  it('is shown to fail in every one of its cases', ({ expect }) => {
    expect(new Set(WRONG.flatMap(([, ids]) => ids))).toEqual(new Set(ALL));
  });
});
