import { parseArgs } from 'node:util';
import { UsageError } from '../arguments.ts';
import { PEERS } from '../peers/index.ts';
import type { Peer } from '../peers/peer.ts';
import type { Address } from '../traffic/connection.ts';
import { AMOUNTS, type Amounts } from './amounts.ts';
import type { ConformanceCase } from './cases/conformance-case.ts';
import { CASES } from './cases/index.ts';
import type { RunningTunnel } from './tunnels.ts';

/** The tunnels that the bench knows how to start. */
const TUNNELS = PEERS.filter(({ family }) => family === 'tunnel');
/** Not judged unless named: the same program with another cipher. */
const NOT_BY_DEFAULT = ['ssh-l-r-aes'];

const OUTPUTS = ['table', 'page', 'json'] as const;

const MOST_PORT = 65_535;
/** Seconds: a day. A typo must not make a run take weeks. */
const MOST_SECONDS = 86_400;
const MOST_BYTES = 2 ** 40;

export const USAGE = `npm run conformance -- [options]                                judges every tunnel that the bench knows
npm run conformance -- --listen HOST:PORT --target PORT [options]  judges a running tunnel

  --listen HOST:PORT   where the tunnel listens, a loopback address
  --target PORT        where it leads: the kit listens there, on 127.0.0.1
  --pids N,N...        the tunnel's processes, whose memory is watched
  --peers a,b          of ${TUNNELS.map(({ name }) => name).join(', ')}
  --cases a,b          of ${CASES.map(({ id }) => id).join(', ')} (default: all)
  --idle SECONDS       how long the idle connection is left alone (default: ${AMOUNTS.idleMs / 1000})
  --delay SECONDS      how late a late answer is (default: ${AMOUNTS.delayMs / 1000})
  --wait SECONDS       how long nothing may happen (default: ${AMOUNTS.waitMs / 1000})
  --offer BYTES        offered to a slow reader (default: ${AMOUNTS.offeredBytes})
  --output FORM        on standard output: table (which is Markdown), page (for docs/performance) or json (default: table)
  --from FILE          judges nothing, and shows the JSON of an earlier run
`;

export interface ConformanceArguments {
  /** A running tunnel; absent, the kit starts {@link peers}. */
  readonly running?: RunningTunnel;
  readonly peers: readonly Peer[];
  readonly cases: readonly ConformanceCase[];
  readonly amounts: Amounts;
  readonly output: (typeof OUTPUTS)[number];
  /** A JSON file of an earlier run, to be shown again; absent: tunnels are judged. */
  readonly from?: string;
}

/**
 * Reads the command line.
 * @returns `undefined` when help was asked for
 * @throws UsageError
 */
export function conformanceArguments(args: readonly string[]): ConformanceArguments | undefined {
  const values = parse(args);
  if (values.help) return undefined;
  const output = OUTPUTS.find((one) => one === values.output);
  if (output === undefined) throw new UsageError(`--output is one of ${OUTPUTS.join(', ')}`);
  const running = runningTunnel(values);
  if (running !== undefined && values.peers !== undefined) throw new UsageError('--peers does not go with --listen');
  return {
    ...(running === undefined ? {} : { running }),
    peers: chosenPeers(values.peers),
    cases: chosenCases(values.cases),
    amounts: {
      ...AMOUNTS,
      idleMs: milliseconds('--idle', values.idle, AMOUNTS.idleMs),
      delayMs: milliseconds('--delay', values.delay, AMOUNTS.delayMs),
      openMs: milliseconds('--wait', values.wait, AMOUNTS.openMs),
      waitMs: milliseconds('--wait', values.wait, AMOUNTS.waitMs),
      offeredBytes: values.offer === undefined ? AMOUNTS.offeredBytes : whole('--offer', values.offer, MOST_BYTES),
    },
    output,
    ...(values.from === undefined ? {} : { from: values.from }),
  };
}

type Values = ReturnType<typeof parse>;

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        listen: { type: 'string' },
        target: { type: 'string' },
        pids: { type: 'string' },
        peers: { type: 'string' },
        cases: { type: 'string' },
        idle: { type: 'string' },
        delay: { type: 'string' },
        wait: { type: 'string' },
        offer: { type: 'string' },
        output: { type: 'string', default: 'table' },
        from: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

function runningTunnel({ listen, target, pids }: Values): ConformanceArguments['running'] {
  if (listen === undefined && target === undefined && pids === undefined) return undefined;
  if (listen === undefined || target === undefined) throw new UsageError('--listen and --target go together');
  return {
    entry: loopback(listen),
    targetPort: whole('--target', target, MOST_PORT),
    pids: pids?.split(',').map((pid) => whole('--pids', pid, Number.MAX_SAFE_INTEGER)) ?? [],
  };
}

/** The kit offers load and aborts connections: it does so to this machine only. */
function loopback(text: string): Address {
  const [, host = '', port = ''] = /^\[?([^[\]]+)\]?:(\d+)$/.exec(text) ?? [];
  if (host !== 'localhost' && host !== '::1' && !/^127\.\d+\.\d+\.\d+$/.test(host)) {
    throw new UsageError('--listen is HOST:PORT with a loopback address');
  }
  return { host, port: whole('--listen', port, MOST_PORT) };
}

function chosenPeers(names: string | undefined): readonly Peer[] {
  if (names === undefined) return TUNNELS.filter(({ name }) => !NOT_BY_DEFAULT.includes(name));
  return chosen('peer', names, TUNNELS, ({ name }) => name);
}

function chosenCases(ids: string | undefined): readonly ConformanceCase[] {
  return ids === undefined ? CASES : chosen('case', ids, CASES, ({ id }) => id);
}

/** In the order of `all`, whatever order they were named in. */
function chosen<T>(what: string, names: string, all: readonly T[], nameOf: (one: T) => string): T[] {
  const wanted = names.split(',');
  for (const name of wanted) {
    if (all.some((one) => nameOf(one) === name)) continue;
    throw new UsageError(`there is no ${what} '${name}': there is ${all.map(nameOf).join(', ')}`);
  }
  return all.filter((one) => wanted.includes(nameOf(one)));
}

function milliseconds(option: string, text: string | undefined, otherwise: number): number {
  return text === undefined ? otherwise : whole(option, text, MOST_SECONDS) * 1000;
}

function whole(option: string, text: string, most: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > most) {
    throw new UsageError(`${option} is a whole number from 1 to ${most}`);
  }
  return value;
}
