import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/** When the kernel probes the peer of an idle connection. */
interface KeepAlive {
  /** Milliseconds without a byte before the first probe. */
  readonly idleMs: number;
  /** Milliseconds between unanswered probes. Node before 24.19 always uses one second. */
  readonly intervalMs: number;
  /** Number of unanswered probes after which the connection is lost. Node before 24.19 always uses ten. */
  readonly count: number;
}

/** Probes for forty seconds, so that an outage of half a minute, such as a change of mobile cell, does not lose a connection. */
const PATIENT = { intervalMs: 10_000, count: 4 } as const;

/**
 * The TCP keepalive settings of every socket that Culvert opens or accepts, by the socket's purpose. Probes are as rare as possible, because
 * each one wakes the radio of a sleeping device. No setting gives up a connection before Culvert's own pings would.
 */
export const KEEP_ALIVE = {
  /**
   * Connections to a hub, a gateway, a proxy or an endpoint. Where there are pings (every 25 s) or timeouts, these detect a loss sooner. This
   * setting is for connections without either: one kept open between two requests, or a WebSocket that the program itself drives. It is longer
   * than four ping intervals, so that no probes are sent beside pings.
   */
  dialled: { idleMs: 120_000, ...PATIENT },
  /** Connections of gateway clients that answer pings: as `dialled`. */
  pinged: { idleMs: 120_000, ...PATIENT },
  /** Connections of gateway clients that must not be pinged: Azure's C client breaks the connection on a ping. Only this setting detects their loss. */
  unpinged: { idleMs: 30_000, ...PATIENT },
  /** Connections to a device's local target and from a program to `connect`: they may lead to another machine of the same network, without pings. */
  local: { idleMs: 60_000, ...PATIENT },
  /**
   * Connections that the hub accepts. No TCP keepalive: REST has an idle timeout of 120 s, the health probes' listener one of 5 s, and a control
   * channel the MQTT or AMQP keepalive that the device chose. TCP keepalive would wake a device that chose to sleep longer. A connection that
   * becomes a stream gets new settings then.
   */
  accepted: undefined,
} as const satisfies Readonly<Record<string, KeepAlive | undefined>>;

/** The purpose of a socket. */
export type SocketUse = keyof typeof KEEP_ALIVE;

/** Options of an `http.Agent` with keep-alive. By default, Node's agents send TCP keepalive probes every second. */
export const AGENT_KEEP_ALIVE = { keepAlive: true, keepAliveMsecs: KEEP_ALIVE.dialled.idleMs } as const;

/** Sets the TCP keepalive of a socket. No effect if `socket` is not a `net.Socket`. */
export function stateKeepAlive(socket: Duplex, use: SocketUse): void {
  if (!(socket instanceof Socket)) return;
  const settings = KEEP_ALIVE[use];
  if (settings === undefined) socket.setKeepAlive(false);
  else socket.setKeepAlive(true, settings.idleMs, settings.intervalMs, settings.count);
}
