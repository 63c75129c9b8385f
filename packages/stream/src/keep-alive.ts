import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** When the kernel probes whether the peer of an idle connection is still there. */
interface KeepAlive {
  /** Milliseconds without a byte after which it first asks. */
  readonly idleMs: number;
  /** Milliseconds between questions that are not answered. Node before 24.19 always asks every second. */
  readonly intervalMs: number;
  /** Unanswered questions after which the connection is lost. Node before 24.19 always asks ten times. */
  readonly count: number;
}

/** Forty seconds of questions: an outage of half a minute, such as a change of mobile cell, loses no connection. */
const PATIENT = { intervalMs: 10_000, count: 4 } as const;

/**
 * The TCP keepalive of every socket that Culvert opens or accepts, by what the socket is for. None asks more often than it must, because each
 * question wakes the radio of a device that could sleep; and none gives up before our own pings would.
 */
export const KEEP_ALIVE = {
  /**
   * Connections to a hub, a gateway, a proxy or an endpoint. Pings (25 s) or time limits notice a loss sooner; this is for what has neither: a
   * connection kept between two requests, a WebSocket that a program drives by itself. Longer than four pings, so that it stays silent beside them.
   */
  dialled: { idleMs: 120_000, ...PATIENT },
  /** Clients of the gateway that answer its pings: as `dialled`. */
  pinged: { idleMs: 120_000, ...PATIENT },
  /** Clients of the gateway that must not be pinged, since Azure's C client breaks the connection then: nothing else notices that one is gone. */
  unpinged: { idleMs: 30_000, ...PATIENT },
  /** A device's local target, and a program that came to `connect`: they may be on other machines of the same network, and have no pings. */
  local: { idleMs: 60_000, ...PATIENT },
  /**
   * What the hub accepts: REST is bounded by its idle time-out (120 s), the probes' listener by 5 s, a control channel by the keepalive of MQTT or AMQP
   * which its device chose; the kernel would wake a device that chose to sleep longer. A connection that becomes a stream gets its settings again.
   */
  accepted: undefined,
} as const satisfies Readonly<Record<string, KeepAlive | undefined>>;

/** What a socket is for. */
export type SocketUse = keyof typeof KEEP_ALIVE;

/** For an `http.Agent` that keeps its connections: left alone, Node's agents ask every second. */
export const AGENT_KEEP_ALIVE = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE.dialled.idleMs } as const;

/** States a socket's TCP keepalive. On anything but a socket it does nothing. */
export function stateKeepAlive(socket: Duplex, use: SocketUse): void {
  if (!(socket instanceof Socket)) return;
  const stated = KEEP_ALIVE[use];
  if (stated === undefined) socket.setKeepAlive(false);
  else socket.setKeepAlive(true, stated.idleMs, stated.intervalMs, stated.count);
}
