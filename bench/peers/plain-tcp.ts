import { release, type } from 'node:os';
import { congestionControl } from '../network/namespace.ts';
import type { Address } from '../traffic/connection.ts';
import type { Peer, RunningPeer } from './peer.ts';

/** A direct connection: what the machine, the driver and the target can do without a tunnel. */
export const plainTcp: Peer = {
  name: 'plain-tcp',
  title: 'a TCP connection from the driver to the target, nothing in between',
  family: 'tunnel',
  missing: () => undefined,
  start: async (target: Address, _workspace, link): Promise<RunningPeer> => ({
    version: `${type()} ${release()}, TCP ${congestionControl()}`,
    entry: { host: target.host, port: await link.through(target.port, 1, 'device') },
    processes: [],
    stop: async () => undefined,
  }),
};
