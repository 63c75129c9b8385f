import type { RunningMiddle } from '../middles/middle.ts';
import type { CommandLine } from '../processes/child.ts';
import type { Address } from '../traffic/connection.ts';
import type { Link } from '../traffic/link.ts';

/**
 * `tunnel`: carries TCP from a local port to a target. `middle`: forwards bytes between two TLS connections. `threads`: a middle that is
 * Culvert's gateway alone, in one or more threads. `hub`: Culvert's hub alone.
 */
export type Family = 'tunnel' | 'middle' | 'threads' | 'hub';

/** A program in the comparison. */
export interface Peer {
  readonly name: string;
  /** A description in one line. */
  readonly title: string;
  /** The peer's family: only scenarios of the same family measure it. */
  readonly family: Family;
  /** The reason why the peer cannot run on this machine; `undefined` when it can. */
  missing(): string | undefined;
  /**
   * Starts everything that carries connections to the target.
   * @param workspace an empty directory for this peer, removed after the run
   * @param link the link through which the peer's ends connect to its middle
   */
  start(target: Address, workspace: string, link: Link): Promise<RunningPeer>;
}

/** A process of a peer, including the processes that it starts. */
export interface PeerProcess {
  readonly role: string;
  readonly pid: number;
}

export interface RunningPeer {
  /** The version that the programs report. */
  readonly version: string;
  /** The address to connect to in order to reach the target. */
  readonly entry: Address;
  readonly processes: readonly PeerProcess[];
  /** The programs that the scenario `start` starts in addition to the running ones; absent when there are none. */
  readonly launches?: Launches;
  /** Devices that only hold their control channel to the first of {@link processes}; absent for peers without such devices. */
  readonly devices?: Devices;
  /** Opens streams with the SDKs, without a local forwarder; absent for peers without an SDK. */
  readonly ends?: Ends;
  /** Opens a stream through a middle; absent for a tunnel. */
  readonly middle?: RunningMiddle;
  /** Has every process free the memory that it does not use; absent for programs that do so by themselves. */
  collectGarbage?(): Promise<void>;
  /** Ends every process; resolves when all have exited. */
  stop(): Promise<void>;
}

/** Devices in separate processes, numbered from 0. */
export interface Devices {
  /** Registers devices until there are `count`. */
  create(count: number, progress: (message: string) => void): Promise<void>;
  /** Attaches registered devices until `count` are attached. */
  attach(count: number, progress: (message: string) => void): Promise<void>;
  /** Detaches all devices. */
  detach(): Promise<void>;
}

/** Pairs of a device and a service, each pair in a separate process. */
export interface Ends {
  /** Starts processes until there are `processes`; resolves with the process ids of all. */
  ready(processes: number): Promise<readonly number[]>;
  /**
   * Opens and ends at least `count` streams, `atOnce` at a time, distributed over the processes that are ready.
   * @throws Error when the bytes echoed on a stream differ from those sent
   */
  open(count: number, atOnce: number): Promise<Opened>;
  /** Sends bytes on one stream. @throws Error when the device received different bytes */
  pour(bytes: number): Promise<void>;
}

export interface Opened {
  readonly count: number;
  readonly seconds: number;
  /** Milliseconds from the stream request to the first byte back; with several processes, those of the slowest. */
  readonly p50: number;
  readonly p99: number;
  readonly 'p99.9': number;
}

/** The programs at the service's end, as a user starts them. */
export interface Launches {
  /** A program that only starts and ends: the lower bound for all other start times. */
  readonly floor?: CommandLine;
  /** Prints the version. */
  readonly version: CommandLine;
  /** The service-local proxy, and the pattern of the output that it prints once it listens. */
  readonly listen: CommandLine & {
    readonly listening: RegExp;
    /** The port of 127.0.0.1 that it listens on; when absent, it is the first group of `listening`. */
    readonly port?: number;
  };
  /** Carries its standard input and output to the target, as for ssh's ProxyCommand. */
  readonly stdio: CommandLine;
}
