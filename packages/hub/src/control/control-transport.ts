import type { Duplex } from 'node:stream';
import type { ControlListenKey, ControlTransportName } from '../observe/listener.ts';
import type { ControlDeps, ControlLimits, ControlOrigin } from './control-channel.ts';

/** A protocol of control channels, over TLS and over WebSocket, as the rest of the hub uses it. */
export interface ControlTransport {
  readonly name: ControlTransportName;
  /** The name shown to people. */
  readonly title: string;
  /** The configuration key of its listener over plain TLS. */
  readonly listenKey: ControlListenKey;
  /** The ALPN names of the protocol. A client that uses ALPN must offer one of them. Absent if the protocol has none. */
  readonly alpn?: readonly string[];
  /** The WebSocket subprotocols, in the spellings that clients use. */
  readonly subprotocols: readonly string[];
  /** Maximum bytes of a WebSocket message. */
  maxMessageBytes(limits: ControlLimits): number;
  /**
   * Serves the client on `connection`, and from now on owns the connection. Must be called in the event-loop iteration in which the connection was
   * opened: the first frame may have arrived with the upgrade request, and an invalid one destroys the connection at once. Resolves true once the
   * client has authenticated, false if the connection ended before. Never rejects.
   */
  accept(connection: Duplex, origin: ControlOrigin, deps: ControlDeps): Promise<boolean>;
}
