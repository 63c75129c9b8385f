import type { Server, Socket } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import { type Clock, systemClock } from '@culvert/stream';
import { socketEnd } from '../local-end.ts';
import { relay } from '../local-relay.ts';
import { type OpenStream, OpenStreams } from '../open-streams.ts';
import type { BoundService, ConnectEvent, LocalService, OpenStreamFunction } from './connect-events.ts';
import { listen } from './listen.ts';
import { MAX_OPENINGS, Openings } from './openings.ts';

/** Connections at once over all services, unless told otherwise; see the agent's limit of the same size. */
export const MAX_CONNECTIONS = 1000;

/** Milliseconds running streams get to end when the proxy is closed. */
export const CLOSE_GRACE_MS = 10_000;

export interface ConnectOptions {
  readonly openStream: OpenStreamFunction;
  readonly deviceId: string;
  readonly services: readonly LocalService[];
  readonly onEvent?: (event: ConnectEvent) => void;
  readonly clock?: Clock;
  /** Default {@link MAX_CONNECTIONS}; a connection beyond is reset. */
  readonly maxConnections?: number;
}

/** A running service-local proxy. */
export interface Connect {
  /** The listeners, in the order they were asked for. */
  readonly services: readonly BoundService[];
  /** Number of open local connections. */
  readonly streams: number;
  /** Listens no more, lets running streams end for `graceMs` (default {@link CLOSE_GRACE_MS}), ends the rest with a reason. */
  close(graceMs?: number): Promise<void>;
  /** Ends everything now. */
  destroy(reason: CulvertError): Promise<void>;
}

/**
 * The service-local proxy: one TCP listener per service of a device, each connection on its own stream. If a stream
 * cannot be opened, only its connection is reset; the next connection tries again.
 * @throws CulvertError when a listener's address cannot be bound; all listeners are closed then
 */
export async function startConnect(options: ConnectOptions): Promise<Connect> {
  const { clock = systemClock, onEvent = () => undefined } = options;
  const streams = new OpenStreams(options.maxConnections ?? MAX_CONNECTIONS);
  const openings = new Openings(MAX_OPENINGS);
  const servers: Server[] = [];
  const services: BoundService[] = [];
  const stopListening = (): Promise<unknown> => Promise.all(servers.map((server) => closed(server)));
  try {
    for (const { name, host = '127.0.0.1', port } of options.services) {
      const server = await listen(host, port, (socket) => {
        const { openStream, deviceId } = options;
        serve(socket, name, { openStream, deviceId, streams, openings, clock, onEvent });
      });
      servers.push(server);
      // Running out of open files surfaces here: that connection is lost, the listener is not.
      server.on('error', (error) =>
        onEvent({ type: 'listener-failed', service: name, error: CulvertError.from(error) }),
      );
      const address = server.address();
      const bound = { name, host, port: typeof address === 'object' && address !== null ? address.port : port };
      services.push(bound);
      onEvent({ type: 'listening', service: name, host, port: bound.port });
    }
  } catch (error) {
    await stopListening();
    throw error;
  }
  const end = async (graceMs: number): Promise<void> => {
    const listening = stopListening();
    await streams.drain(graceMs, clock, 'The local proxy is stopping.');
    await listening;
  };
  return {
    services,
    get streams() {
      return streams.size;
    },
    close: (graceMs = CLOSE_GRACE_MS) => end(graceMs),
    destroy: (reason) => {
      streams.destroy(reason);
      return end(0);
    },
  };
}

interface ServeOptions {
  readonly openStream: OpenStreamFunction;
  readonly deviceId: string;
  readonly streams: OpenStreams;
  readonly openings: Openings;
  readonly clock: Clock;
  readonly onEvent: (event: ConnectEvent) => void;
}

function serve(socket: Socket, service: string, options: ServeOptions): void {
  const place = options.streams.take();
  if (place === undefined) {
    socket.resetAndDestroy();
    const error = new CulvertError('too_many_requests', 'The limit of open connections is reached.');
    options.onEvent({ type: 'stream-failed', id: 0, service, error });
    return;
  }
  void serveConnection(socket, service, place, options).finally(() => place.release());
}

/** Never rejects: what goes wrong is told by event. */
async function serveConnection(
  socket: Socket,
  service: string,
  place: OpenStream,
  options: ServeOptions,
): Promise<void> {
  const { clock, onEvent } = options;
  const started = clock.now();
  // A program that goes away while its stream is being opened withdraws the request.
  const wentAway = (): void => place.destroy(new CulvertError('aborted', 'The local connection went away.'));
  socket.on('error', () => undefined);
  socket.once('close', wentAway);
  try {
    const { signal } = place;
    const stream = await options.openings.run(signal, () =>
      options.openStream(options.deviceId, { name: service, signal }),
    );
    socket.off('close', wentAway);
    onEvent({ type: 'stream-opened', id: place.id, service, openedInMs: clock.now() - started });
    const result = await relay(socketEnd(socket), stream, { clock, signal: place.signal });
    onEvent({ type: 'stream-ended', id: place.id, service, ...result, durationMs: clock.now() - started });
  } catch (error) {
    socket.resetAndDestroy();
    onEvent({ type: 'stream-failed', id: place.id, service, error: CulvertError.from(error) });
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
