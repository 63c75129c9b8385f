import { parseArgs } from 'node:util';
import { BASELINE, PEERS } from './peers/index.ts';
import type { Peer } from './peers/peer.ts';
import { SCENARIOS } from './scenarios/index.ts';
import type { Scenario } from './scenarios/scenario.ts';

export interface BenchArguments {
  readonly scenarios: readonly Scenario[];
  readonly peers: readonly Peer[];
  /** The peer that ratios are computed against, when it runs. */
  readonly baseline: string;
  readonly rounds: number;
  readonly bytes: number;
  /** In ascending order. */
  readonly devices: readonly number[];
  /** Minutes for the whole run: rounds that do not fit are left out, except one round of each scenario. */
  readonly minutes: number;
  readonly output: Output;
  /** The directory for the drawings; when absent, they are written beside the JSON. */
  readonly drawings?: string;
  /** The JSON file of an earlier run, to show again; when absent, the run is measured. */
  readonly from?: string;
}

/** `table` is for reading directly, `markdown` for pasting into a page, with links to its drawings. */
export type Output = (typeof OUTPUTS)[number];

const OUTPUTS = ['table', 'markdown', 'json'] as const;

/** Default number of counted rounds: the smallest number whose median one or two disturbed rounds cannot move far. */
const ROUNDS = 5;
/** Default number of bytes of a transfer: it takes the compared tunnels one to two seconds. */
const BYTES = 256 * 2 ** 20;
/** Default numbers of idle devices. */
const DEVICES = '1000,5000';
/** Maximum number of devices: below the number of ports that Linux has for connections from one address to one port (`ip_local_port_range`), with a margin. */
const MOST_DEVICES = 25_000;
/** Default for minutes: practically unlimited. */
const MINUTES = 10_000;
/** Maximum of either option: a typo must not make a run take days. */
const MOST_ROUNDS = 1_000;
const MOST_BYTES = 2 ** 40;

export const USAGE = `npm run bench -- [SCENARIO...] [options]

scenarios: ${SCENARIOS.map((scenario) => scenario.name).join(', ')} (default: all)
  --peers a,b          of ${PEERS.map((peer) => peer.name).join(', ')} (default: all)
  --baseline NAME      peer that ratios are told against (default: ${BASELINE})
  --rounds N           counted rounds (default: ${ROUNDS})
  --bytes N            bytes of one transfer (default: ${BYTES})
  --devices N,N...     idle devices (default: ${DEVICES})
  --minutes N          leaves out rounds that do not fit into N minutes, but one of each scenario (default: no limit)
  --output FORM        what goes to standard output: table, markdown (to paste into a page) or json (default: table)
  --drawings DIR       puts the drawings there (default: beside the JSON in bench/results)
  --from FILE          measures nothing, and shows the JSON of an earlier run
`;

/** An error in the command line. */
export class UsageError extends Error {}

/**
 * Reads the command line.
 * @returns `undefined` when help was asked for
 * @throws UsageError
 */
export function benchArguments(args: readonly string[]): BenchArguments | undefined {
  const { values, positionals } = parse(args);
  if (values.help) return undefined;
  const output = OUTPUTS.find((one) => one === values.output);
  if (output === undefined) throw new UsageError(`--output is one of ${OUTPUTS.join(', ')}`);
  const peers = values.peers?.split(',') ?? PEERS.map((peer) => peer.name);
  return {
    scenarios: positionals.length === 0 ? SCENARIOS : named(SCENARIOS, positionals, 'scenario'),
    peers: named(PEERS, peers, 'peer'),
    baseline: named(PEERS, [values.baseline], 'peer')[0]?.name ?? BASELINE,
    rounds: whole('--rounds', values.rounds, MOST_ROUNDS),
    bytes: whole('--bytes', values.bytes, MOST_BYTES),
    devices: values.devices
      .split(',')
      .map((count) => whole('--devices', count, MOST_DEVICES))
      .sort((a, b) => a - b),
    minutes: whole('--minutes', values.minutes, MINUTES),
    output,
    ...(values.drawings === undefined ? {} : { drawings: values.drawings }),
    ...(values.from === undefined ? {} : { from: values.from }),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        peers: { type: 'string' },
        baseline: { type: 'string', default: BASELINE },
        rounds: { type: 'string', default: String(ROUNDS) },
        bytes: { type: 'string', default: String(BYTES) },
        devices: { type: 'string', default: DEVICES },
        minutes: { type: 'string', default: String(MINUTES) },
        output: { type: 'string', default: 'table' },
        drawings: { type: 'string' },
        from: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** The selected items, in the order of `all`, whatever order they were named in; `gateway` stands for its frames of every size. */
function named<T extends { readonly name: string }>(all: readonly T[], names: readonly string[], what: string): T[] {
  for (const name of names) {
    if (!all.some((one) => isNamed(one.name, name))) {
      throw new UsageError(`there is no ${what} '${name}': there is ${all.map((one) => one.name).join(', ')}`);
    }
  }
  return all.filter((one) => names.some((name) => isNamed(one.name, name)));
}

function isNamed(full: string, given: string): boolean {
  return full === given || (given === 'gateway' && full.startsWith('gateway-'));
}

function whole(option: string, text: string, most: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > most) {
    throw new UsageError(`${option} is a whole number from 1 to ${most}`);
  }
  return value;
}
