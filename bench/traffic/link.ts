import { join } from 'node:path';
import { Child, type CommandLine } from '../processes/child.ts';

/** The link between two programs of a peer. */
export interface Link {
  /**
   * Returns the port to connect to in place of `port`.
   * @param legs number of such links that a byte passes from the driver to the target: together they have the whole delay
   * @param server where the program runs that listens on the port; default: in the middle
   */
  through(port: number, legs: number, server?: 'middle' | 'device'): Promise<number>;
  /** Returns how to start a program of the device, when the device has a network of its own; otherwise the line as it is. */
  onDevice(line: CommandLine): CommandLine;
  /** Returns the number of packets so far; only for a link that handles packets. */
  counts?(): Promise<PacketCounts>;
  stop(): Promise<void>;
}

export interface PacketCounts {
  readonly passed: number;
  readonly dropped: number;
}

/** A direct connection. */
export const NO_LINK: Link = {
  through: (port) => Promise.resolve(port),
  onDevice: (line) => line,
  stop: () => Promise.resolve(),
};

/** A link whose round trip takes `roundTripMs` from end to end. */
export function longLink(roundTripMs: number): Link {
  const children: Child[] = [];
  return {
    async through(port, legs) {
      const args = [join(import.meta.dirname, 'delay-main.ts'), String(port), String(roundTripMs / legs / 2)];
      const child = new Child({ command: process.execPath, args: ['--conditions=development', ...args] }).readOutput();
      children.push(child);
      return Number((await child.ready(/listening (\d+)/))[1]);
    },
    onDevice: (line) => line,
    async stop() {
      for (const child of children) await child.stop();
    },
  };
}
