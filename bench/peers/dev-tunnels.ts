import { join } from 'node:path';
import { certificateFiles } from '../middles/certificate-files.ts';
import { Child, type CommandLine } from '../processes/child.ts';
import { collectGarbage, INSPECTABLE } from '../processes/garbage.ts';
import type { Address } from '../traffic/connection.ts';
import type { Link } from '../traffic/link.ts';
import type { Peer, RunningPeer } from './peer.ts';
import { notInstalled } from './peer-directory.ts';

/** Microsoft's Dev Tunnels in the form available as a library: SSH inside WebSockets, through a relay over TLS. */
export const devTunnels: Peer = {
  name: 'dev-tunnels-ssh',
  title: '@microsoft/dev-tunnels-ssh at both ends, over WebSocket and TLS to a relay on the ws library',
  family: 'tunnel',
  missing: () => notInstalled('node_modules/@microsoft/dev-tunnels-ssh-tcp/package.json'),
  start: startDevTunnels,
};

async function startDevTunnels(target: Address, workspace: string, link: Link): Promise<RunningPeer> {
  const { certFile, keyFile, ca } = await certificateFiles(workspace);
  const children: Child[] = [];
  const start = (
    file: string,
    args: readonly string[],
    env: Record<string, string>,
    wrap = (line: CommandLine): CommandLine => line,
  ): Child => {
    const path = join(import.meta.dirname, file);
    const child = new Child(
      wrap({ command: process.execPath, args: [...INSPECTABLE, '--conditions=development', path, ...args], env }),
    );
    children.unshift(child.readOutput());
    return child;
  };
  const stop = async (): Promise<void> => {
    for (const child of children) await child.stop();
  };
  try {
    const relay = start('../middles/ws-relay-main.ts', [], { BENCH_CERT_FILE: certFile, BENCH_KEY_FILE: keyFile });
    const port = Number((await relay.ready(/listening (\d+)/))[1]);
    const url = `wss://127.0.0.1:${await link.through(port, 2)}/bench`;
    const device = start('dev-tunnels-main.ts', ['device', url], { BENCH_CA: ca }, link.onDevice);
    const to = [target.host, String(target.port)];
    const service = start('dev-tunnels-main.ts', ['service', url, ...to], { BENCH_CA: ca });
    const [, entry, version = ''] = await service.ready(/listening (\d+) (\S+)/);
    return {
      version: `dev-tunnels-ssh ${version}`,
      entry: { host: '127.0.0.1', port: Number(entry) },
      processes: [
        { role: 'relay', pid: relay.pid },
        { role: 'device', pid: device.pid },
        { role: 'service', pid: service.pid },
      ],
      collectGarbage: async () => {
        for (const child of [relay, device, service]) await collectGarbage(child);
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
