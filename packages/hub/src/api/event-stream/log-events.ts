import { once } from 'node:events';
import { LIMITS } from '@culvert/protocol';
import type { Clock } from '@culvert/stream';
import type { FastifyReply } from 'fastify';
import type { LogFollowing } from '../../observe/log-store/log-store.ts';
import type { Followed } from '../../observe/log-store/log-subscribers.ts';
import { recordId } from '../../observe/resource-log/log-entry.ts';

/**
 * Sends server-sent events until the caller disconnects, the hub stops, or the credential expires or is revoked. The caller can then reconnect with
 * a new credential and the last id. A record is sent as `id:` and `data:`; an `event: dropped` contains the number of records that were skipped
 * because the caller was too slow.
 */
export function replyWithFollowing(
  reply: FastifyReply,
  following: LogFollowing,
  options: {
    readonly clock: Clock;
    readonly expiresAt: number;
    /** Whether the caller's credential is still valid; called every 25 s. Must not reject. */
    readonly stillHolds: () => Promise<boolean>;
  },
): FastifyReply {
  const { clock, expiresAt, stillHolds } = options;
  const { raw } = reply.hijack();
  raw.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // Otherwise nginx buffers events.
    'x-accel-buffering': 'no',
  });
  raw.flushHeaders();
  // With this id, a caller that loses the connection before the first record can continue from here.
  if (following.position !== undefined) raw.write(`id: ${recordId(following.position)}\n\n`);
  const expiry = clock.setTimer(expiresAt - clock.now(), () => following.close());
  // Comments keep the connection open: the listener, and proxies in front of it, close idle connections.
  const keepAlive = (): void => {
    if (raw.writableLength === 0) raw.write(':\n\n');
    void stillHolds().then((holds) => {
      if (!holds) raw.destroy();
    });
    keepAliveTimer = clock.setTimer(LIMITS.pingMs, keepAlive);
  };
  let keepAliveTimer = clock.setTimer(LIMITS.pingMs, keepAlive);
  const gone = new AbortController();
  raw.once('close', () => {
    following.close();
    gone.abort();
  });
  raw.on('error', () => raw.destroy());
  const write = async (): Promise<void> => {
    for await (const followed of following) {
      if (raw.destroyed) return;
      // Stop waiting when the connection closes.
      if (!raw.write(event(followed))) await once(raw, 'drain', { signal: gone.signal });
    }
  };
  void write()
    // Disconnected, or the log could not be read: the caller reconnects and gets the error then.
    .catch(() => undefined)
    .finally(() => {
      expiry.cancel();
      keepAliveTimer.cancel();
      following.close();
      raw.end();
    });
  return reply;
}

function event(followed: Followed): string {
  if (followed.kind === 'dropped') return `event: dropped\ndata: {"count":${followed.count}}\n\n`;
  return `id: ${recordId(followed.record)}\ndata: ${followed.record.json}\n\n`;
}
