import type { Server, Socket } from 'node:net';
import { CulvertError } from '@culvert/protocol';
import { type Clock, systemClock } from '@culvert/stream';
import { socketEnd } from '../local-end.ts';
import { relay } from '../local-relay.ts';
import { type OpenStream, OpenStreams } from '../open-streams.ts';
import { sessionRelay, whenOpened } from '../session-relay.ts';
import type { BoundService, ConnectEvent, LocalService, OpenStreamFunction } from './connect-events.ts';
import { listen } from './listen.ts';
import { MAX_OPENINGS, Openings } from './openings.ts';

/** Maximum open connections by default, over all services. The agent has the same limit for its streams. */
export const MAX_CONNECTIONS = 1000;

/** Milliseconds that open streams may take to end when the proxy is closed. */
export const CLOSE_GRACE_MS = 10_000;

export interface ConnectOptions {
  readonly openStream: OpenStreamFunction;
  readonly deviceId: string;
  readonly services: readonly LocalService[];
  readonly onEvent?: (event: ConnectEvent) => void;
  readonly clock?: Clock;
  /** Maximum open connections, default {@link MAX_CONNECTIONS}; further connections are reset. */
  readonly maxConnections?: number;
}

/** A running service-local proxy. */
export interface Connect {
  /** The listeners, in the order of {@link ConnectOptions.services}. */
  readonly services: readonly BoundService[];
  /** Number of open local connections. */
  readonly streams: number;
  /** Stops listening, waits up to `graceMs` (default {@link CLOSE_GRACE_MS}) for open streams to end, then ends the others with a reason. */
  close(graceMs?: number): Promise<void>;
  /** Ends all streams now and stops listening. */
  destroy(reason: CulvertError): Promise<void>;
}

/**
 * Starts the service-local proxy: one TCP listener per service of a device, and one stream per connection. If a stream cannot be opened, only its
 * connection is reset; the next connection requests a new stream.
 * @throws CulvertError if a listener's address cannot be bound; all listeners are closed then
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
      // If the process has too many open files, the listener emits an error and loses that connection, but continues to listen.
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
  const slot = options.streams.take();
  if (slot === undefined) {
    socket.resetAndDestroy();
    const error = new CulvertError('too_many_requests', 'The limit of open connections is reached.');
    options.onEvent({ type: 'stream-failed', id: 0, service, error });
    return;
  }
  void serveConnection(socket, service, slot, options).finally(() => slot.release());
}

/** Relays one connection to its end. Never rejects: errors are reported as events. */
async function serveConnection(
  socket: Socket,
  service: string,
  slot: OpenStream,
  options: ServeOptions,
): Promise<void> {
  const { clock, onEvent } = options;
  const started = clock.now();
  // If the program disconnects while its stream is being requested, the request is withdrawn.
  const wentAway = (): void => slot.destroy(new CulvertError('aborted', 'The local connection went away.'));
  socket.on('error', () => undefined);
  socket.once('close', wentAway);
  try {
    const { signal } = slot;
    const stream = await options.openings.run(signal, () =>
      options.openStream(options.deviceId, { name: service, signal, early: true }),
    );
    socket.off('close', wentAway);
    whenOpened(stream, () =>
      onEvent({ type: 'stream-opened', id: slot.id, service, openedInMs: clock.now() - started }),
    );
    const local = socketEnd(socket);
    const ends = { clock, signal: slot.signal };
    const result = await (sessionRelay(local, stream, ends) ?? relay(local, stream, ends));
    onEvent({ type: 'stream-ended', id: slot.id, service, ...result, durationMs: clock.now() - started });
  } catch (error) {
    socket.resetAndDestroy();
    onEvent({ type: 'stream-failed', id: slot.id, service, error: CulvertError.from(error) });
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
  });
}
