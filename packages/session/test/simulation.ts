import { Pair, type Program } from './simulated-pair.ts';
import { World } from './virtual-world.ts';

/** Virtual time that a run may take. */
const MAX_MS = 3_600_000;

export interface Outcome {
  readonly fault: string | undefined;
  readonly links: number;
  readonly bytes: number;
}

/**
 * One random run: a few connections, links that are cut in every way at random times, perhaps a stranger. Nothing restarts and nothing expires,
 * so every connection must end well with every byte.
 */
export function simulate(seed: number): Outcome {
  const world = new World(seed);
  const { random } = world;
  const pair = new Pair(world, {
    wire: {
      delayMs: random.between(0, 60),
      rate: random.chance(0.5) ? random.between(20, 3_000) : undefined,
      splits: random.chance(0.7),
    },
    isEncrypted: random.chance(0.5),
  });
  pair.session.start();
  const count = random.between(1, 6);
  for (let index = 0; index < count; index++) {
    const bytes = random.chance(0.2) ? random.between(0, 10) : random.between(1, 400_000);
    world.setTimer(random.between(0, 800), () => {
      if (pair.session.takesConnections) pair.open(`service-${index}`, bytes, random.chance(0.3));
    });
  }
  let cuts = random.between(0, 12);
  const nextCut = (): void => {
    world.setTimer(random.chance(0.7) ? random.between(1, 300) : random.between(300, 20_000), () => {
      harm(pair, world);
      if (--cuts > 0) nextCut();
    });
  };
  if (cuts > 0) nextCut();
  const isDone = (): boolean =>
    (pair.serviceEnd !== undefined || pair.servicePrograms.length === count) &&
    pair.servicePrograms.every(({ isOver }) => isOver) &&
    pair.devicePrograms.filter(Boolean).every(({ isOver }) => isOver);
  const ended = world.run(MAX_MS, isDone);
  const fault = faultOf(pair, ended);
  const bytes = [...pair.servicePrograms, ...pair.devicePrograms.filter(Boolean)].reduce(
    (sum, { received }) => sum + received,
    0,
  );
  return { fault, links: pair.wires.length, bytes };
}

function harm(pair: Pair, world: World): void {
  const { random } = world;
  const wire = pair.wires.at(-1);
  if (wire === undefined) return;
  const kind = random.between(0, 5);
  if (kind === 0) wire.cut([random.between(0, 100), random.between(0, 100)]);
  else if (kind === 1) wire.cut([random.between(0, 40_000), random.between(0, 40_000)]);
  else if (kind === 2) wire.blackhole(random.chance(0.5) ? undefined : random.chance(0.5) ? 0 : 1);
  else if (kind === 3) wire.halfOpen(random.chance(0.5) ? 0 : 1, random.between(0, 45_000));
  else if (kind === 4) pair.session.replaceLink();
  else {
    pair.isReachable = false;
    wire.cut([random.between(0, 50), random.between(0, 50)]);
    world.setTimer(random.between(100, 60_000), () => {
      pair.isReachable = true;
    });
  }
}

function faultOf(pair: Pair, ended: boolean): string | undefined {
  const faults: string[] = [];
  // The first link was lost before HELLO arrived: the device knows nothing, and what was sent is not sent again to another session.
  if (pair.serviceEnd?.reason === 'unknown' && pair.devicePrograms.length === 0) return undefined;
  const check = (name: string, program: Program, peer: Program | undefined): void => {
    if (program.fault !== undefined) faults.push(`${name}: ${program.fault}`);
    if (program.abortion !== undefined)
      faults.push(`${name}: aborted, ${program.abortion.reason} ${program.abortion.text}`);
    if (peer === undefined || program.received !== peer.sent)
      faults.push(`${name}: received ${program.received} of ${peer?.sent}`);
    if (!program.peerEnded) faults.push(`${name}: no end`);
  };
  if (!ended) faults.push('not over');
  if (pair.serviceEnd !== undefined && pair.serviceEnd.reason !== 'done')
    faults.push(`service: ${JSON.stringify(pair.serviceEnd)}`);
  pair.servicePrograms.forEach((program, index) => {
    check(`service ${index}`, program, pair.devicePrograms[index]);
    const peer = pair.devicePrograms[index];
    if (peer !== undefined) check(`device ${index}`, peer, program);
  });
  return faults.length === 0 ? undefined : faults.join('; ');
}
