import { once } from 'node:events';
import type { Child } from './child.ts';

/** Arguments for a Node program whose garbage {@link collectGarbage} may collect: where its inspector listens once it is asked to. It costs nothing before. */
export const INSPECTABLE: readonly string[] = ['--inspect-port=127.0.0.1:0'];

/** Milliseconds for a collection. */
const LONGEST_MS = 20_000;

/** The inspectors of programs that were asked before. */
const inspectors = new WeakMap<Child, string>();

/**
 * Has a Node program free what it does not use any more, so that its memory is what it needs and not what it has happened to allocate since the last collection.
 * @throws Error when it was not started with {@link INSPECTABLE}, or does not answer
 */
export async function collectGarbage(child: Child): Promise<void> {
  const socket = new WebSocket(await inspectorOf(child));
  const answered = once(socket, 'message', { signal: AbortSignal.timeout(LONGEST_MS) });
  try {
    await once(socket, 'open', { signal: AbortSignal.timeout(LONGEST_MS) });
    socket.send(JSON.stringify({ id: 1, method: 'HeapProfiler.collectGarbage' }));
    await answered;
  } finally {
    socket.close();
  }
}

async function inspectorOf(child: Child): Promise<string> {
  let url = inspectors.get(child);
  if (url === undefined) {
    child.process.kill('SIGUSR1');
    url = (await child.ready(/Debugger listening on (ws:\S+)/))[1] ?? '';
    inspectors.set(child, url);
  }
  return url;
}
