import { once } from 'node:events';
import { LIMITS } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { FastifyReply } from 'fastify';
import type { Followed } from '../observe/log-store/log-followers.ts';
import type { LogFollowing } from '../observe/log-store/log-store.ts';
import { recordId } from '../observe/resource-log/log-entry.ts';

/**
 * Answers with server-sent events until the caller leaves, the hub stops, or the credential expires or is taken away: then the caller has to come again, with a
 * new one and the last id. A record is `id:` and `data:`; `event: dropped` says how many were left out because the caller did not take them.
 */
export function replyWithFollowing(
  reply: FastifyReply,
  following: LogFollowing,
  options: {
    readonly clock: Clock;
    readonly expiresAt: number;
    /** Whether the caller's credential would still be taken; asked every 25 s. Must not reject. */
    readonly stillHolds: () => Promise<boolean>;
  },
): FastifyReply {
  const { clock, expiresAt, stillHolds } = options;
  const { raw } = reply.hijack();
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // nginx would hold events back.
    'x-accel-buffering': 'no',
  });
  raw.flushHeaders();
  // Whoever loses the connection before the first record knows where to go on, too.
  if (following.position !== undefined) raw.write(`id: ${recordId(following.position)}\n\n`);
  const expiry = clock.setTimer(expiresAt - clock.now(), () => following.close());
  // The door ends connections that are silent for long, and so does what stands before it.
  const beat = (): void => {
    if (raw.writableLength === 0) raw.write(':\n\n');
    void stillHolds().then((holds) => {
      if (!holds) raw.destroy();
    });
    heart = clock.setTimer(LIMITS.pingMs, beat);
  };
  let heart = clock.setTimer(LIMITS.pingMs, beat);
  const gone = new AbortController();
  raw.once('close', () => {
    following.close();
    gone.abort();
  });
  raw.on('error', () => raw.destroy());
  const write = async (): Promise<void> => {
    for await (const followed of following) {
      if (raw.destroyed) return;
      // The end of the connection ends the wait too.
      if (!raw.write(event(followed))) await once(raw, 'drain', { signal: gone.signal });
    }
  };
  void write()
    // Gone, or the log could not be read: the caller comes again and is told why then.
    .catch(() => undefined)
    .finally(() => {
      expiry.cancel();
      heart.cancel();
      following.close();
      raw.end();
    });
  return reply;
}

function event(followed: Followed): string {
  if (followed.kind === 'dropped') return `event: dropped\ndata: {"count":${followed.count}}\n\n`;
  return `id: ${recordId(followed.record)}\ndata: ${followed.record.json}\n\n`;
}
