import { expect, it } from 'vitest';
import { Pair } from './simulated-pair.ts';
import { SlowHmacWorld } from './slow-hmac-world.ts';

/** Runs; each has its seed, so a failure can be repeated alone. */
const RUNS = 150;
/** Virtual milliseconds that a run may take. */
const MAX_MS = 3_600_000;

/** A few connections over links that are cut at random, with HMACs that take anything from no time to longer than a round trip. Returns what went wrong. */
function simulate(seed: number): string | undefined {
  const world = new SlowHmacWorld(seed, ({ random }) => (random.chance(0.3) ? -1 : random.between(0, 150)));
  const { random } = world;
  const pair = new Pair(world, {
    wire: {
      delayMs: random.between(0, 60),
      rate: random.chance(0.5) ? random.between(20, 3_000) : undefined,
      splits: random.chance(0.5),
      joinMs: random.chance(0.5) ? random.between(1, 80) : undefined,
    },
    isEncrypted: random.chance(0.5),
  });
  pair.session.start();
  for (let count = random.between(1, 4); count > 0; count--)
    pair.open('a', random.between(0, 300_000), random.chance(0.3));
  let cuts = random.between(0, 10);
  const nextCut = (): void => {
    // The first link is never cut before the device has its HELLO: that may end a session.
    if (pair.device.size > 0) cut(pair, random.between(0, 3));
    if (--cuts > 0) world.setTimer(random.between(1, 500), nextCut);
  };
  if (cuts > 0) world.setTimer(random.between(1, 500), nextCut);
  const programs = () => [...pair.servicePrograms, ...pair.devicePrograms.filter(Boolean)];
  const isDone = world.run(MAX_MS, () => programs().every(({ isOver }) => isOver));
  if (!isDone) return 'not over';
  if (pair.serviceEnd !== undefined && pair.serviceEnd.reason !== 'done') return `ended: ${pair.serviceEnd.reason}`;
  for (const [index, program] of pair.servicePrograms.entries()) {
    const peer = pair.devicePrograms[index];
    const fault = program.fault ?? peer?.fault ?? program.abortion?.reason ?? peer?.abortion?.reason;
    if (fault !== undefined) return `connection ${index}: ${fault}`;
    if (program.received !== peer?.sent || peer.received !== program.sent)
      return `connection ${index}: bytes are missing`;
  }
  const refusal = pair.refusedLinks.find((text) => !IS_HARMLESS.test(text));
  return refusal === undefined ? undefined : `refused: ${refusal}`;
}

/** Refusals that a cut explains. */
const IS_HARMLESS = /in time|too often|A newer link/;

function cut(pair: Pair, kind: number): void {
  const { random } = pair.world;
  const wire = pair.wires.at(-1);
  if (kind === 0) wire?.cut([random.between(0, 200), random.between(0, 200)]);
  else if (kind === 1) wire?.halfOpen(random.chance(0.5) ? 0 : 1, random.between(0, 45_000));
  else if (kind === 2) wire?.blackhole(random.chance(0.5) ? 0 : 1);
  else pair.session.replaceLink();
}

it('a session with slow HMACs delivers every byte once through random cuts, and refuses no link of its own ends', () => {
  const faults: string[] = [];
  for (let seed = 1; seed <= RUNS; seed++) {
    const fault = simulate(seed);
    if (fault !== undefined) faults.push(`seed ${seed}: ${fault}`);
  }
  expect(faults).toEqual([]);
});
