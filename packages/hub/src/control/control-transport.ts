import type { Duplex } from 'node:stream';
import type { ControlListenKey, ControlTransportName } from '../observe/listener.ts';
import type { ControlDeps, ControlLimits, ControlOrigin } from './control-channel.ts';

/** One protocol that control channels speak, over TLS and over WebSocket: all that the rest of the hub needs to know of it. */
export interface ControlTransport {
  readonly name: ControlTransportName;
  /** For people. */
  readonly title: string;
  /** Where it is listened for over TLS alone, if the configuration says so. */
  readonly listenKey: ControlListenKey;
  /** ALPN names one of which a client must offer if it offers any; absent where the protocol has none. */
  readonly alpn?: readonly string[];
  /** WebSocket subprotocols, as clients write them. */
  readonly subprotocols: readonly string[];
  /** Bytes of a WebSocket message. */
  maxMessageBytes(limits: ControlLimits): number;
  /**
   * Serves the client on `connection` and owns the connection from now on. Must be called in the event-loop iteration in which the connection was made: a frame may have come
   * with the request, and break it at once. Resolves true once a client has authenticated, false when the connection ended before; never
   * rejects.
   */
  accept(connection: Duplex, origin: ControlOrigin, deps: ControlDeps): Promise<boolean>;
}
