import type { TLSSocket } from 'node:tls';
import { newStreamId, type Side } from '@culvert/protocol';
import { type Grant, grantPath, newGrantKeys, signGrant } from '@culvert/protocol/grant';
import type { Peer, RunningPeer } from '../peers/peer.ts';
import { openStream } from '../traffic/open-stream.ts';
import type { Joined } from '../traffic/pour.ts';
import { certificateFiles } from './certificate-files.ts';
import type { StreamTicket } from './middle.ts';
import { relayProcess } from './relay-process.ts';

const GRANT_MS = 60_000;

/** Culvert's gateway in a separate process, and a relay based on the `ws` library, which is the reference of the gateway's tests. */
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
  const child = relayProcess(main, certificate, keys.publicKey);
  const open: TLSSocket[] = [];
  const stop = async (): Promise<void> => {
    for (const socket of open) socket.destroy();
    await child.stop();
  };
  try {
    const [, port, audience = ''] = await child.ready(/listening (\d+) (\S+)/);
    const grant = async (streamId: string, side: Side): Promise<Grant> => {
      const claims = { streamId, side, audience, expiresAt: Date.now() + GRANT_MS };
      const path = audience === '-' ? `/${streamId}` : grantPath(streamId, side);
      return { url: `wss://127.0.0.1:${port}${path}`, token: await signGrant(claims, keys.privateKey) };
    };
    const ticket = async (): Promise<StreamTicket> => {
      const streamId = newStreamId();
      const { ca } = certificate;
      return { ca, from: await grant(streamId, 'service'), to: await grant(streamId, 'device') };
    };
    const joinEnds = async (): Promise<Joined> => {
      const joined = await openStream(await ticket());
      open.push(joined.from, joined.to);
      return joined;
    };
    return {
      version: `Node ${process.versions.node}`,
      entry: { host: '127.0.0.1', port: Number(port) },
      processes: [{ role: name, pid: child.pid }],
      middle: { unmasks: true, join: joinEnds, ticket },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
