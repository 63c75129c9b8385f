import type { RunningMiddle } from '../middles/middle.ts';
import type { CommandLine } from '../processes/child.ts';
import type { Address } from '../traffic/connection.ts';
import type { Link } from '../traffic/link.ts';

/**
 * `tunnel`: carries TCP from a local port to a target. `middle`: passes bytes on between two TLS connections. `threads`: the same by the
 * gateway alone, in one thread or more. `hub`: Culvert's hub alone.
 */
export type Family = 'tunnel' | 'middle' | 'threads' | 'hub';

/** One of the compared programs. */
export interface Peer {
  readonly name: string;
  /** What it is, in one line. */
  readonly title: string;
  /** Its family: only scenarios of the same family measure it. */
  readonly family: Family;
  /** Why it cannot run on this machine, in plain words; `undefined` when it can. */
  missing(): string | undefined;
  /**
   * Starts everything that carries connections to the target.
   * @param workspace an empty directory of its own, removed after the run
   * @param link what its ends are to reach its middle through
   */
  start(target: Address, workspace: string, link: Link): Promise<RunningPeer>;
}

/** A process of a peer; what it starts counts as its own. */
export interface PeerProcess {
  readonly role: string;
  readonly pid: number;
}

export interface RunningPeer {
  /** Of the programs, as they tell it. */
  readonly version: string;
  /** Where to connect to reach the target. */
  readonly entry: Address;
  readonly processes: readonly PeerProcess[];
  /** What the scenario `start` starts again beside what is running; absent when there is nothing to start. */
  readonly launches?: Launches;
  /** Devices that only hold their control channel to the first of {@link processes}; absent where there is no such thing. */
  readonly devices?: Devices;
  /** Opens streams by the SDKs, without a local forwarder; absent where there is no SDK. */
  readonly ends?: Ends;
  /** How to open a stream through a middle; absent in a tunnel. */
  readonly middle?: RunningMiddle;
  /** Ends every process; resolves when they are gone. */
  stop(): Promise<void>;
}

/** Devices in processes of their own, numbered from 0. */
export interface Devices {
  /** Registers as many as are missing to `count`. */
  create(count: number, progress: (message: string) => void): Promise<void>;
  /** Attaches as many as are missing to `count`; they are registered. */
  attach(count: number, progress: (message: string) => void): Promise<void>;
  /** Detaches all. */
  detach(): Promise<void>;
}

/** Pairs of a device and a service, each pair in a process of its own. */
export interface Ends {
  /** Starts processes until there are `count`; resolves with the ids of all. */
  ready(processes: number): Promise<readonly number[]>;
  /**
   * Opens and ends at least `count` streams, a number of them at once, spread over the processes that are ready.
   * @throws Error when what came back on one was not what was sent
   */
  open(count: number, atOnce: number): Promise<Opened>;
  /** Sends bytes up one stream. @throws Error when the device got others */
  pour(bytes: number): Promise<void>;
}

export interface Opened {
  readonly count: number;
  readonly seconds: number;
  /** Milliseconds from asking for a stream to the first byte back; with several processes, those of the slowest. */
  readonly p50: number;
  readonly p99: number;
  readonly 'p99.9': number;
}

/** Programs of the service's end, as a user starts them. */
export interface Launches {
  /** Does nothing but come up and end: the floor under everything else. */
  readonly floor?: CommandLine;
  /** Prints the version. */
  readonly version: CommandLine;
  /** The service-local proxy, and what it prints once it listens. */
  readonly listen: CommandLine & { readonly listening: RegExp };
  /** Carries its standard input and output to the target, as for ssh's ProxyCommand. */
  readonly stdio: CommandLine;
}
