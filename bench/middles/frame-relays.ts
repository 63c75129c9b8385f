import { join } from 'node:path';
import { newStreamId, type Side } from '@culvert/protocol';
import { grantPath, newGrantKeys, signGrant } from '@culvert/protocol/grant';
import { RawWebSocket, type RawWebSocketOptions } from '@culvert/testkit';
import type { Peer, RunningPeer } from '../peers/peer.ts';
import { Child } from '../processes/child.ts';
import type { Joined } from '../traffic/pour.ts';
import { certificateFiles } from './certificate-files.ts';

const GRANT_MS = 60_000;

/** Culvert's gateway alone in a process, and a relay on the `ws` library, the reference of the gateway's tests. */
export const culvertGateway: Peer = relayPeer('culvert-gateway', "Culvert's gateway alone", 'gateway-main.ts');
export const wsRelay: Peer = relayPeer('ws-relay', 'a relay on the ws library', 'ws-relay-main.ts');

function relayPeer(name: string, title: string, main: string): Peer {
  return {
    name,
    title: `${title}, TLS on both sides, one thread of Node`,
    family: 'middle',
    missing: () => undefined,
    start: (_target, workspace) => startRelay(name, main, workspace),
  };
}

async function startRelay(name: string, main: string, workspace: string): Promise<RunningPeer> {
  const certificate = await certificateFiles(workspace);
  const keys = await newGrantKeys();
  const nodeArguments = (process.env['BENCH_NODE_ARGUMENTS'] ?? '').split(' ').filter(Boolean);
  const child = new Child({
    command: process.env['BENCH_NODE'] ?? process.execPath,
    args: ['--conditions=development', ...nodeArguments, join(import.meta.dirname, main)],
    env: {
      BENCH_CERT_FILE: certificate.certFile,
      BENCH_KEY_FILE: certificate.keyFile,
      BENCH_GRANT_KEY: JSON.stringify(keys.publicKey.export({ format: 'jwk' })),
    },
  }).readOutput();
  const open: RawWebSocket[] = [];
  const stop = async (): Promise<void> => {
    for (const { socket } of open) socket.destroy();
    await child.stop();
  };
  try {
    const [, port, audience = ''] = await child.ready(/listening (\d+) (\S+)/);
    const enter = async (streamId: string, side: Side): Promise<RawWebSocket> => {
      const claims = { streamId, side, audience, expiresAt: Date.now() + GRANT_MS };
      const path = audience === '-' ? `/${streamId}` : grantPath(streamId, side);
      const url = `wss://127.0.0.1:${port}${path}`;
      const options: RawWebSocketOptions = { ca: certificate.ca };
      const client = await RawWebSocket.open({ url, token: await signGrant(claims, keys.privateKey) }, options);
      if (!client.head.startsWith('HTTP/1.1 101 ')) throw new Error(`${name} refused the upgrade: ${client.head}`);
      client.socket.removeAllListeners('data');
      client.socket.setNoDelay(true);
      open.push(client);
      return client;
    };
    const joinEnds = async (): Promise<Joined> => {
      const streamId = newStreamId();
      return { from: (await enter(streamId, 'service')).socket, to: (await enter(streamId, 'device')).socket };
    };
    return {
      version: `Node ${process.versions.node}`,
      entry: { host: '127.0.0.1', port: Number(port) },
      processes: [{ role: name, pid: child.pid }],
      middle: { unmasks: true, join: joinEnds },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
