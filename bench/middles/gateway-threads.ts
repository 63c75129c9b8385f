import { newStreamId, type Side } from '@culvert/protocol';
import { grantPath, newGrantKeys, signGrant } from '@culvert/protocol/grant';
import { RawWebSocket } from '@culvert/testkit';
import type { Peer, RunningPeer } from '../peers/peer.ts';
import type { Joined } from '../traffic/pour.ts';
import { certificateFiles } from './certificate-files.ts';
import { relayProcess } from './relay-process.ts';

const GRANT_MS = 60_000;

/**
 * A gateway with a number of threads; streams are assigned to the threads in rotation.
 * `divided`: the two sides of each stream connect to different threads.
 */
interface Layout {
  readonly name: string;
  readonly title: string;
  /** 0: the gateway runs in the process's main thread. */
  readonly threads: number;
  readonly divided: boolean;
}

const LAYOUTS: readonly Layout[] = [
  { name: 'no-threads', title: "the gateway in its process's own thread", threads: 0, divided: false },
  { name: '1-thread', title: 'the gateway in one thread beside the main one', threads: 1, divided: false },
  { name: '2-threads-same', title: 'in two, both sides of a stream in one of them', threads: 2, divided: false },
  { name: '2-threads-divided', title: 'in two, the sides of every stream in both', threads: 2, divided: true },
];

/** The peers that the scenario `threads` compares. */
export const gatewayThreads: readonly Peer[] = LAYOUTS.map((layout) => ({
  name: layout.name,
  title: `${layout.title}, TLS on both sides`,
  family: 'threads',
  missing: () => undefined,
  start: (_target, workspace) => start(layout, workspace),
}));

async function start({ name, threads, divided }: Layout, workspace: string): Promise<RunningPeer> {
  const certificate = await certificateFiles(workspace);
  const keys = await newGrantKeys();
  const main = threads === 0 ? 'gateway-main.ts' : 'gateway-threads-main.ts';
  const child = relayProcess(main, certificate, keys.publicKey, { BENCH_THREADS: String(threads) });
  const open: RawWebSocket[] = [];
  const stop = async (): Promise<void> => {
    for (const { socket } of open) socket.destroy();
    await child.stop();
  };
  try {
    const [, listening = '', audience = ''] = await child.ready(/listening (\S+) (\S+)/);
    const ports = listening.split(',').map(Number);
    const enter = async (streamId: string, side: Side, thread: number) => {
      const claims = { streamId, side, audience, expiresAt: Date.now() + GRANT_MS };
      const url = `wss://127.0.0.1:${ports[thread % ports.length]}${grantPath(streamId, side)}`;
      const grant = { url, token: await signGrant(claims, keys.privateKey) };
      const client = await RawWebSocket.open(grant, { ca: certificate.ca });
      if (!client.head.startsWith('HTTP/1.1 101 ')) throw new Error(`${name} refused the upgrade: ${client.head}`);
      client.socket.removeAllListeners('data');
      client.socket.setNoDelay(true);
      open.push(client);
      return client.socket;
    };
    let streams = 0;
    const joinEnds = async (): Promise<Joined> => {
      const streamId = newStreamId();
      const thread = streams++;
      const other = divided ? thread + 1 : thread;
      // The thread of the first side owns the stream. For two streams the sender is the first side, for the next two the receiver.
      if (thread % 4 < 2) {
        const from = await enter(streamId, 'service', thread);
        return { from, to: await enter(streamId, 'device', other) };
      }
      const to = await enter(streamId, 'device', other);
      return { from: await enter(streamId, 'service', thread), to };
    };
    return {
      version: `Node ${process.versions.node}`,
      entry: { host: '127.0.0.1', port: ports[0] ?? 0 },
      processes: [{ role: name, pid: child.pid }],
      middle: { unmasks: true, join: joinEnds },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
