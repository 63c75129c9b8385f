import { join } from 'node:path';
import { endsPool } from '../ends/ends-pool.ts';
import type { Peer, RunningPeer } from '../peers/peer.ts';
import { Child, type CommandLine } from '../processes/child.ts';

/** The hub that the others are compared with. */
export const UNOBSERVED = 'hub-unobserved';

/** Four hubs that differ only in the subscribers that observe their streams. */
export const observedHubs: readonly Peer[] = [
  observedHub('unobserved', 'whose events have no subscriber'),
  observedHub('metrics', 'with its metrics'),
  observedHub('audit', 'with metrics and the audit record, which is synced to disk'),
  observedHub('all', 'with metrics, the audit record and a log'),
];

function observedHub(variant: string, title: string): Peer {
  return {
    name: `hub-${variant}`,
    title: `a hub ${title}`,
    family: 'hub',
    missing: () => undefined,
    start: (_target, workspace) => startHub(variant, workspace),
  };
}

async function startHub(variant: string, workspace: string): Promise<RunningPeer> {
  const children: Child[] = [];
  const start = (line: CommandLine): Child => {
    const child = new Child(line).readOutput();
    children.unshift(child);
    return child;
  };
  const stop = async (): Promise<void> => {
    for (const child of children) await child.stop();
  };
  try {
    const main = join(import.meta.dirname, 'hub-main.ts');
    const args = ['--conditions=development', main, variant, workspace];
    const hub = start({ command: process.execPath, args });
    const [, port] = await hub.ready(/listening (\d+)/);
    return {
      version: `Node ${process.versions.node}`,
      entry: { host: '127.0.0.1', port: Number(port) },
      processes: [{ role: 'hub', pid: hub.pid }],
      ends: endsPool(join(workspace, 'data'), start),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}
