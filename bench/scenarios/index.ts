import { open } from './open.ts';
import { roundTrip } from './round-trip.ts';
import type { Scenario } from './scenario.ts';
import { start } from './start.ts';
import { throughput } from './throughput.ts';

/** Every scenario, in the order of the tables. A new one is a file beside this one and a line here. */
export const SCENARIOS: readonly Scenario[] = [throughput, roundTrip, open, start];
