import { simulate } from './simulation.ts';

const from = Number(process.argv[2] ?? 1);
const runs = Number(process.argv[3] ?? 1000);
let links = 0;
let bytes = 0;
let bad = 0;
for (let seed = from; seed < from + runs; seed++) {
  let outcome: ReturnType<typeof simulate>;
  try {
    outcome = simulate(seed);
  } catch (error) {
    outcome = { fault: (error as Error).stack, links: 0, bytes: 0 };
  }
  links += outcome.links;
  bytes += outcome.bytes;
  if (outcome.fault !== undefined) {
    console.log(seed, outcome.fault);
    if (++bad >= 10) break;
  }
}
console.log({ runs, links, bytes, bad });
