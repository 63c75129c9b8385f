import { beside } from './beside.ts';
import { devices } from './devices.ts';
import { firstByteScenario } from './first-byte.ts';
import { gatewayScenario } from './gateway.ts';
import { handshakes } from './handshakes.ts';
import { idle } from './idle.ts';
import { iperf } from './iperf.ts';
import { longLinkScenario } from './long-link.ts';
import { middleBeside } from './middle-beside.ts';
import { observe } from './observe.ts';
import { open } from './open.ts';
import { pathScenario } from './path.ts';
import { roundTrip } from './round-trip.ts';
import type { Scenario } from './scenario.ts';
import { slowLink } from './slow-link.ts';
import { start } from './start.ts';
import { streams } from './streams.ts';
import { threads } from './threads.ts';
import { throughput } from './throughput.ts';
import { web } from './web.ts';
import { wrk } from './wrk.ts';

/** Every scenario, in the order of the tables. To add a scenario, add a file beside this one and a line here. */
export const SCENARIOS: readonly Scenario[] = [
  gatewayScenario('64-B', 64),
  gatewayScenario('1-KiB', 1_024),
  // The largest payload that fits in one TLS record with its frame header, which has eight bytes when a client sends it.
  gatewayScenario('16-KiB', 16_376),
  gatewayScenario('64-KiB', 65_536),
  middleBeside,
  threads,
  throughput,
  iperf,
  roundTrip,
  beside,
  slowLink,
  open,
  firstByteScenario('first-byte', 5, 0),
  firstByteScenario('first-byte-long', 2, 100),
  handshakes,
  web,
  wrk,
  streams,
  idle,
  devices,
  longLinkScenario,
  pathScenario('long-path', 0, 8 * 2 ** 20),
  pathScenario('lossy-path', 1, 2 ** 20),
  start,
  observe,
];
