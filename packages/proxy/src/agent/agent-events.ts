import type { DeviceClientState, SessionEvent } from '@culvert/device';
import type { CulvertError } from '@culvert/protocol';
import type { EndedBy } from '../local-relay.ts';

/** A TCP address the agent may connect to. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** The fields of an event about one stream. */
export interface OfferedStream {
  /** The stream's name, which is the name of the requested service. */
  readonly service: string;
  /** The hub's id of the stream, or of the one that carries its session; undefined if the hub did not send it. */
  readonly streamId: string | undefined;
  /** The id of the session that the stream is a connection in; undefined for a stream of its own. */
  readonly sessionId?: string | undefined;
  /** The caller's name at the hub; undefined if the hub did not send it. */
  readonly caller: string | undefined;
}

/** An event of an agent. Stream ids count from 1 for the life of the agent. */
export type AgentEvent =
  | SessionEvent
  /**
   * The state of the connection to the hub, reported once per change of the reason, not once per attempt. `retryInMs`: milliseconds until the
   * next attempt; later waits are longer.
   */
  | {
      readonly type: 'state';
      readonly state: DeviceClientState;
      readonly error: CulvertError | undefined;
      readonly retryInMs?: number;
    }
  /** New services or a new connection are in use. */
  | {
      readonly type: 'reloaded';
      /** The names of all services offered from now on. */
      readonly services: readonly string[];
      readonly added: readonly string[];
      readonly removed: readonly string[];
      /** Whether the agent opens a new connection because the connection string, certificate, CA, proxy or gateways have changed. */
      readonly connection: boolean;
    }
  /** The new connection cannot be used, or its connection string is invalid; the agent keeps the old connection. */
  | { readonly type: 'reload-failed'; readonly error: CulvertError }
  /**
   * An attempt to establish the new connection has failed. The agent retries, and keeps the old connection until the new one is established or the old one
   * is lost.
   */
  | { readonly type: 'reload-waits'; readonly error: CulvertError }
  | ({ readonly type: 'stream-rejected'; readonly reason: string } & OfferedStream)
  /** `target` is undefined for the services that the agent itself provides. */
  | ({ readonly type: 'stream-opened'; readonly id: number; readonly target: Target | undefined } & OfferedStream)
  | ({
      readonly type: 'stream-ended';
      readonly id: number;
      /** Which side ended the stream: `local` is this device's program, `remote` the service. */
      readonly endedBy: EndedBy;
      /** Bytes from the local target into the stream. */
      readonly bytesSent: number;
      /** Bytes from the stream to the local target. */
      readonly bytesReceived: number;
      readonly durationMs: number;
    } & OfferedStream)
  | ({ readonly type: 'stream-failed'; readonly id: number; readonly error: CulvertError } & OfferedStream);
